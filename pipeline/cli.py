"""The `vmafx-sidecar` command. Each subcommand's module is imported only when that subcommand is called."""

from __future__ import annotations

import importlib
import sys

import click

import pipeline

# Subcommand: where it is, and its line in the overview (so that the overview imports nothing).
COMMANDS = {
    "run": ("pipeline.console.run:run", "Run the sidecar in the foreground: what the container runs."),
    "pool": ("pipeline.console.pool:pool", "Train on the samples of a whole fleet, as its pool."),
    "demo": ("pipeline.demo.cli:demo", "Show the whole loop on real frames, in about a minute."),
    "feed": ("pipeline.node.cli:feed", "Play an encoder node: stream a corpus into a sidecar."),
    "send": ("pipeline.libvmaf.cli:send", "Send libvmaf's logs to a sidecar, or all that appear in a directory."),
    "score": ("pipeline.libvmaf.score_cli:score", "Predict the frames of libvmaf's logs, beside their scores."),
    "encode": ("pipeline.encode.cli:encode", "Be a node: encode, predict, measure with libvmaf, send."),
    "status": ("pipeline.console.status:status", "Show what each process of a running sidecar is doing."),
    "top": ("pipeline.console.top:top", "Show the same live, with the newest log events."),
    "logs": ("pipeline.console.logs:logs", "Show the newest log events of all processes."),
    "plot": ("pipeline.console.plot:plot", "Plot the learning curve from the recorded history."),
    "config": ("pipeline.console.config:show", "Print the effective settings and where each comes from."),
    "export": ("pipeline.console.control:export", "Write a checkpoint now."),
    "checkpoints": ("pipeline.checkpoints.cli:checkpoints", "List, show and compare the published checkpoints."),
    "pin": ("pipeline.checkpoints.cli:pin", "Exempt a checkpoint from retention."),
    "unpin": ("pipeline.checkpoints.cli:unpin", "Remove that exemption."),
    "rollback": (
        "pipeline.console.orders:rollback",
        "Withdraw the newest stable checkpoint; train from before it.",
    ),
    "pause": ("pipeline.console.orders:pause", "Stop training and publishing; samples are still taken."),
    "resume": ("pipeline.console.orders:resume", "Go on after pause."),
    "freeze": ("pipeline.console.orders:freeze", "Let no further checkpoint become stable."),
    "unfreeze": ("pipeline.console.orders:unfreeze", "Let checkpoints become stable again."),
    "quarantine": ("pipeline.console.orders:quarantine", "Leave samples of a group, a node or a time out of training."),
    "forget": ("pipeline.forgetting.cli:forget", "Remove samples of a job, tenant, group or time from everything."),
    "history": ("pipeline.console.orders:history", "List what operators have ordered."),
    "verify": ("pipeline.model.cli:verify", "Check a published model: digest, opset, operators, a test run."),
    "fsck": ("pipeline.fsck.cli:fsck", "Verify everything that a sidecar has on disk and in shared memory."),
    "clean": ("pipeline.console.control:clean", "Remove what a dead sidecar left in shared memory."),
    "reset": (
        "pipeline.console.control:reset",
        "Start training over, from the base model or a checkpoint.",
    ),
    "corpus": ("pipeline.corpus.cli:corpus", "Build corpora of scored frames from videos."),
    "train": ("pipeline.offline.cli:train", "Train a base model on a corpus."),
    "simulate": (
        "pipeline.simulation.cli:simulate",
        "Replay samples through the online training, and compare recipes.",
    ),
    "evaluate": ("pipeline.offline.cli:evaluate", "Evaluate models on a corpus."),
    "registry": (
        "pipeline.artifacts.cli:registry",
        "Index the models of a directory; push to a registry, and pull.",
    ),
    "fleet": ("pipeline.fleet.cli:fleet", "Configure a fleet of sidecars; see and remove what they have sent."),
    "correct": ("pipeline.correction.cli:correct", "Correct the bias of a predictor that cannot be retrained."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in documentation order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing any subcommand."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Settings come from VMAFX_* variables: `vmafx-sidecar config` lists them. Tab completion for bash: "
    'eval "$(_VMAFX_SIDECAR_COMPLETE=bash_source vmafx-sidecar)"',
)
@click.version_option(pipeline.__version__, prog_name="vmafx-sidecar")
def cli() -> None:
    """Fine-tune an encoder node's tiny VMAF model on the scores that the node produces."""


def main() -> None:
    """Run the command; a pipe that the other side has closed is not an error."""
    try:
        cli(prog_name="vmafx-sidecar")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
