"""A sidecar with a mount namespace of its own, so that a disk can be full or read-only for it alone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
import pytest

from tests.support.sidecar import Sidecar

_UNSHARE = shutil.which("unshare") or ""
_NSENTER = shutil.which("nsenter") or ""
_TRY = (_UNSHARE, "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt")


@cache
def has_namespace() -> bool:
    """Whether a file system can be mounted that nobody else sees."""
    if os.geteuid() != 0 or not (_UNSHARE and _NSENTER):
        return False
    return subprocess.run(_TRY, capture_output=True, check=False).returncode == 0


needs_namespace = pytest.mark.skipif(not has_namespace(), reason="needs root and the right to mount in a namespace")


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """Give the path of a file system of `size` (as tmpfs takes it), which is gone in the end.

    It is mounted in the namespace of a process that sleeps, and is reached through that process.
    """
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0" && echo mounted && exec sleep infinity'
    with subprocess.Popen([_UNSHARE, "-m", "sh", "-c", mount, str(directory)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mounted\n"
            yield Path(f"/proc/{process.pid}/root{directory}")
        finally:
            process.kill()


def fill(directory: Path, leave: int = 0) -> Path:
    """Leave `leave` free bytes, to a page, on the file system of a directory; return the file that takes the room."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(path, path.stat().st_size - leave)
    return path


class SidecarOnSmallDisk(Sidecar):
    """A sidecar whose checkpoint directory is a file system of four megabytes that only it sees."""

    def run_command(self) -> list[str]:
        """Return the command that starts it behind its own mount."""
        mount = f'mount -t tmpfs -o size=4m tmpfs "{self.checkpoints}" && exec "$@"'
        return [_UNSHARE, "-m", "sh", "-c", mount, "sh", *super().run_command()]

    @property
    def disk(self) -> Path:
        """The checkpoint directory as the sidecar sees it."""
        return Path(f"/proc/{self.process.pid}/root{self.checkpoints}")

    def make_read_only(self) -> None:
        """Let nothing be written to the disk any more."""
        self._mount('mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"')

    def make_writable(self) -> None:
        """Undo `make_read_only`."""
        self._mount('umount -l "$0"')

    def _mount(self, script: str) -> None:
        into = [_NSENTER, "-t", str(self.process.pid), "-m", "sh", "-c", script, str(self.checkpoints)]
        subprocess.run(into, check=True)

    def fill(self) -> Path:
        """Leave no free byte; return the file that takes the room."""
        return fill(self.disk)

    def unsound(self) -> list[str]:
        """Return what the verifier says is unsound on this disk, and in memory."""
        checkpoints, self.checkpoints = self.checkpoints, self.disk
        try:
            return self.fsck()
        finally:
            self.checkpoints = checkpoints

    def descriptors(self) -> dict[str, int]:
        """Return how many files each process has open."""
        return {role: psutil.Process(self.pid(role)).num_fds() for role in ("ingest", "trainer", "exporter")}
