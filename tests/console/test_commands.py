"""The commands that look at a sidecar, run as an operator runs them."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeline
from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.cli import COMMANDS, cli
from pipeline.console import plot
from pipeline.monitor import history
from pipeline.monitor.history import COLUMNS
from pipeline.runtime import kernel, regions
from pipeline.runtime.journal import open_journals
from pipeline.runtime.reports import ExporterReport, IngestReport, TrainerReport
from pipeline.shm import segment
from tests.support.boards import at_work, publish, settings_of
from tests.support.processes import REPOSITORY, environment


def _run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=environment(COLUMNS="200") | settings,
    )


def _recorded(path: Path, evaluations: int) -> None:
    sidecar = Checkpoint(
        version=3, sha256="", created="2026-05-28T12:34:56Z", step=1, samples=50, base_model="",
        base_sha256="", state="stable", reason="RMSE 1, base model 2.",
    )  # fmt: skip
    with history.opened(path, write=True) as file:
        file.add([(float(i), *([float(i)] * (len(COLUMNS) - 2)), None) for i in range(evaluations)])
        file.put([(3, checkpoint.encode(sidecar))])


def test_status_tells_people_what_is_done(instance: str) -> None:
    """Phase, samples, checkpoint, models and their error are on the screen, and the exit code is 0."""
    at_work(instance)
    result = _run("status", VMAFX_SIDECAR_INSTANCE=instance)
    assert result.returncode == 0, result.stderr
    for text in ("running", "12,345 samples", "ring 10,000 of 10,000", "model_v000042 (unstable)", "base model", "12"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("report", "code", "phase"),
    [
        (TrainerReport(role="trainer", phase="running", pid=2**22), 1, "initializing"),
        (IngestReport(role="ingest", phase="crash backoff", problem="cannot [bind] /x"), 0, "failed"),
    ],
)
def test_the_exit_code_of_status_tells_health(instance: str, report: TrainerReport, code: int, phase: str) -> None:
    """Scripts see by code and by JSON whether all processes progress; brackets in a problem are shown as they are."""
    publish(at_work(instance), report)
    result = _run("status", "--json", VMAFX_SIDECAR_INSTANCE=instance)
    assert (result.returncode, json.loads(result.stdout)["phase"]) == (code, phase)
    assert report.problem in _run("status", VMAFX_SIDECAR_INSTANCE=instance).stdout


@pytest.mark.parametrize("command", ["status", "logs", "top"])
def test_no_sidecar_is_one_line(instance: str, command: str) -> None:
    """Where nothing runs, a command says so in a line and does not exit with 0."""
    result = _run(command, "--socket", f"/nowhere/{instance}.sock")
    assert result.returncode in {1, 3}
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_logs_are_filtered_and_cut(instance: str) -> None:
    """Only the asked-for number of events, of the asked-for level, as text or as JSON lines."""
    journals = open_journals(settings_of(instance))
    for second, level in enumerate(("info", "warning", "error", "warning")):
        event = {"timestamp": f"2026-01-01T00:00:0{second}Z", "level": level, "role": "ingest", "event": f"e{second}"}
        journals.writer("ingest").add(event)
    at_work(instance)
    result = _run("logs", "--level", "warning", "-n", "2", "--json", VMAFX_SIDECAR_INSTANCE=instance)
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["e2", "e3"]
    lines = _run("logs", VMAFX_SIDECAR_INSTANCE=instance).stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["00:00:00", "info", "ingest", "e0"]


def test_logs_of_a_sidecar_that_is_gone_can_be_read(instance: str) -> None:
    """No process needs to be alive for its last words to be shown."""
    regions.open_board(settings_of(instance))
    open_journals(settings_of(instance)).writer("trainer").add(
        {"level": "error", "event": "crashed", "role": "trainer"}
    )
    assert "crashed" in _run("logs", VMAFX_SIDECAR_INSTANCE=instance).stdout


def test_export_signals_no_stranger(instance: str) -> None:
    """The exporter has died, and another process has its number: it gets no signal, the command says what is wrong."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        born = kernel.look_at(stranger.pid).born - 1
        publish(at_work(instance), ExporterReport(role="exporter", phase="running", pid=stranger.pid, born=born))
        result = _run("export", VMAFX_SIDECAR_INSTANCE=instance)
        assert (result.returncode, result.stderr) == (1, "Error: the exporter is not running\n")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_clean_asks_the_locks_who_is_alive(instance: str) -> None:
    """A pid in a report proves nothing; a lock that is held does, of this instance and of no other."""
    publish(at_work(instance), IngestReport(role="ingest", pid=os.getpid()))
    longer = f"{instance}-2"
    at_work(longer)
    try:
        assert {instance, longer} <= set(regions.instances())
        lock = segment.take_lock(regions.role_lock(longer, "trainer"))
        refused = _run("clean", VMAFX_SIDECAR_INSTANCE=longer)
        assert (refused.returncode, refused.stderr) == (
            1,
            f"Error: instance {longer} is running (trainer); stop it first\n",
        )
        assert _run("clean", VMAFX_SIDECAR_INSTANCE=instance).returncode == 0
        assert regions.leftovers(instance) == []
        assert len(regions.leftovers(longer)) >= 3
        os.close(lock)
        assert _run("clean", VMAFX_SIDECAR_INSTANCE=longer).returncode == 0
        assert regions.leftovers(longer) == []
    finally:
        for leftover in regions.leftovers(longer):
            (segment.SHM_DIR / leftover).unlink()


def test_top_needs_a_terminal(instance: str) -> None:
    """Into a pipe, `top` says what to use in its place."""
    at_work(instance)
    result = _run("top", VMAFX_SIDECAR_INSTANCE=instance)
    assert result.returncode == 1
    assert "vmafx-sidecar status" in result.stderr


def test_top_shows_the_sidecar_on_a_terminal(instance: str) -> None:
    """On a real terminal `top` draws processes and figures until Ctrl-C, which ends it with 0."""
    at_work(instance)
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (50, 150))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "top", "--interval", "0.2"],
        stdin=inside,
        stdout=inside,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"VMAFX_SIDECAR_INSTANCE": instance, "TERM": "xterm"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    readable = select.poll()  # unlike select(), for descriptors of any number
    readable.register(terminal, select.POLLIN)
    shown = b""
    give_up = time.monotonic() + 60
    while b"12,345 samples" not in shown and time.monotonic() < give_up and readable.poll(30_000):
        shown += os.read(terminal, 65536)
    process.send_signal(signal.SIGINT)
    give_up = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < give_up:
        if readable.poll(100):
            os.read(terminal, 65536)
    assert process.stderr is not None
    with process.stderr:
        errors = process.stderr.read()
    os.close(terminal)
    os.close(inside)
    assert b"12,345 samples" in shown
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize("on", ["prequential", "held_out"])
def test_plot_draws_the_recorded_curve(tmp_path: Path, on: str) -> None:
    """The PNG is made from the history alone; no sidecar runs."""
    pytest.importorskip("matplotlib")
    _recorded(tmp_path / "h.sqlite", 20)
    out = tmp_path / "curve.png"
    result = _run("plot", "--history", str(tmp_path / "h.sqlite"), "--out", str(out), "--on", on)
    assert (result.returncode, result.stdout.strip()) == (0, str(out)), result.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    assert out.stat().st_size > 10_000


def test_plot_says_how_far_behind_it_may_be() -> None:
    """As far as the monitor's next write."""
    assert f"the newest {history.SAVE_INTERVAL_S} seconds may be missing" in _run("plot", "--help").stdout


def test_plot_has_the_colours_of_the_page() -> None:
    """The same model or verdict has the same colour in both, in the page's light scheme."""
    style = (Path(pipeline.__file__).parent / "monitor" / "assets" / "page.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w+)", style.partition("@media")[0]))
    assert {model: colour for model, (*_, colour) in plot._MODELS.items()} == {
        model: colours[model] for model in ("ema", "base", "stable")
    }
    assert [colour for _, colour in plot._MARKS.values()] == [colours[mood] for mood in ("good", "bad", "busy")]


def test_plot_finds_the_history_of_the_settings(tmp_path: Path) -> None:
    """Without a file name, the history is that of the checkpoint directory."""
    pytest.importorskip("matplotlib")
    (tmp_path / "state").mkdir()
    _recorded(tmp_path / "state" / history.NAME, 3)
    result = _run("plot", "--out", str(tmp_path / "p.png"), VMAFX_SIDECAR_CHECKPOINT_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("content", "out", "said"),
    [
        (None, "p.png", "no such file"),
        (b"no database, though long enough to look like one" * 30, "p.png", "not a database"),
        (0, "p.png", "nothing has been recorded"),
        (3, "absent/p.png", "No such file or directory"),
    ],
)
def test_plot_says_what_is_missing(tmp_path: Path, content: bytes | int | None, out: str, said: str) -> None:
    """A missing, foreign or empty history and an impossible target are one line each."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "h.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        _recorded(path, content)
    result = _run("plot", "--history", str(path), "--out", str(tmp_path / out))
    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "top", "logs", "plot", "config", "export", "clean", "reset", "run"])
def test_help_has_an_example(command: str) -> None:
    """`--help` explains each command with an example, and its overview line exists."""
    result = _run(command, "--help")
    assert result.returncode == 0
    assert "Example: " in result.stdout
    assert COMMANDS[command][1].endswith(".")


@pytest.mark.parametrize(
    "command",
    [
        *(
            f"{command} --reason"
            for command in ("pause", "resume", "freeze", "unfreeze", "rollback", "reset --to base")
        ),
        *("quarantine --group", "quarantine --node"),
        *("forget --job", "forget --tenant", "forget --group", "forget --node"),
    ],
)
def test_text_in_another_encoding_is_refused_in_a_line(command: str) -> None:
    """A terminal of Latin 1 sends bytes that are no UTF-8, and Python hands them on as surrogates."""
    result = CliRunner().invoke(cli, [*command.split(), os.fsdecode(b"St\xf6rung")])
    assert result.exit_code == 2, result.output
    assert result.output.splitlines()[-1].endswith("expected text in UTF-8")


@pytest.mark.parametrize(
    "command",
    ["pool run --name", "quarantine --node", "forget --job", "forget --tenant", "forget --group", "forget --node"],
)
def test_an_empty_name_is_none(command: str) -> None:
    """As of a variable that is not set: it would be forgotten, with zeros, or run as an ordinary sidecar."""
    result = CliRunner().invoke(cli, [*command.split(), ""])
    assert result.exit_code == 2, result.output
    assert result.output.splitlines()[-1].endswith("expected a name: it is empty")


def test_tab_completion_knows_the_commands() -> None:
    """Completion, as the overview tells how to switch it on, offers the subcommands."""
    result = _run(COMP_WORDS="vmafx-sidecar st", COMP_CWORD="1", _VMAFX_SIDECAR_COMPLETE="bash_complete")
    assert "plain,status" in result.stdout


def test_the_overview_imports_nothing_heavy() -> None:
    """Help and the plain commands come without torch, ONNX Runtime, matplotlib or Prometheus' client."""
    modules = [f"pipeline.console.{name}" for name in ("status", "logs", "plot", "top", "config")]
    heavy = {"torch", "onnxruntime", "onnx", "matplotlib", "prometheus_client"}
    script = (
        f"import sys, pipeline.cli, pipeline.monitor.__main__, {', '.join(modules)}; print({heavy} & {{*sys.modules}})"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert result.stdout.strip() == "set()", result.stderr
