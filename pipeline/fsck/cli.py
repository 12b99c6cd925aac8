"""`vmafx-sidecar fsck`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from pipeline.console.target import NoSidecar, find_instance, settings_of, socket_option
from pipeline.fsck.finding import Finding
from pipeline.shm.segment import SegmentError

_LOOKS = 6
_PAUSE_S = 0.5


@click.command(
    epilog="Exit code: 0 everything is sound, 1 something is not, 3 nothing to check. "
    "Example: vmafx-sidecar fsck --directory /mnt/vmafx-models/online"
)
@socket_option
@click.option(
    "--directory",
    "--dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint directory.  [default: VMAFX_SIDECAR_CHECKPOINT_DIR]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fsck(socket: Path | None, directory: Path | None, as_json: bool) -> None:
    """Verify everything that a sidecar has: published files, saved state, shared memory, processes.

    Works on a running sidecar, a stopped one, and the remains of a dead one. Changes nothing.
    """
    findings: list[Finding] = []
    for finding in _findings(socket, directory):
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok  ' if finding.sound else 'FAIL'}  {finding.what:<24} {finding.detail}")
    sound = all(finding.sound for finding in findings)
    if as_json:
        click.echo(msgspec.json.encode({"sound": sound, "findings": findings}).decode())
    if not findings:
        raise NoSidecar("there is neither a checkpoint directory nor a sidecar to check")
    raise SystemExit(0 if sound else 1)


def _findings(socket: Path | None, directory: Path | None) -> Iterator[Finding]:
    from pipeline.fsck import archive, files, memory, processes
    from pipeline.runtime import regions

    settings = settings_of(socket)
    directory = directory or settings.checkpoint_dir
    if directory.is_dir():
        yield from _at_rest(lambda: list(files.check(directory)))
    try:
        instance = find_instance(socket)
        board = regions.attach_board(instance)
    except (NoSidecar, SegmentError):
        instance, board = "", None
    samples = settings.archive_dir or Path(board.archive().directory if board else "")
    if samples.name and samples.is_dir():
        yield from _at_rest(lambda: list(archive.check(samples)))
    if board is None:
        return
    yield from memory.check(instance)
    yield from _at_rest(lambda: list(processes.check(board)))


def _at_rest(look: Callable[[], list[Finding]]) -> list[Finding]:
    """Check again for a while if something is not sound: a running sidecar may be between two steps."""
    for _ in range(_LOOKS - 1):
        try:
            findings = look()
        except OSError as error:
            raise click.ClickException(str(error)) from None
        if all(finding.sound for finding in findings):
            return findings
        time.sleep(_PAUSE_S)
    return look()
