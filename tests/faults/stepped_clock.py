"""Clocks of single processes, moved while they run: those of a sidecar's, and that of a server which uses no libc."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.nats import NatsServer

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, to step the clock of some processes")

_TRACEME, _DETACH = 0, 17
_TRIED_S = 86400
_CODE = bytes.fromhex(
    "b8e4000000"  # mov eax, 228: clock_gettime
    "0f05"  # syscall
    "85ff750a"  # test edi, edi; jne to ret: any clock but CLOCK_REALTIME stays
    "488b0d07000000"  # mov rcx, [what lies behind this code]
    "48010e"  # add [rsi], rcx: seconds
    "c3909090"  # ret
)
"""In the place of `clock_gettime` in the page that the kernel maps into each process of x86-64."""


def build(directory: Path) -> Path:
    """Build the library that moves the clock of a process tree, which needs a compiler; return its path."""
    assert COMPILER is not None
    path = directory / "stepped_clock.so"
    source = Path(__file__).with_name("stepped_clock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return path


class Stepped:
    """A program and its wall clock, which can be moved; it begins `seconds` from what it is."""

    def __init__(self, command: list[str], seconds: int, **streams: Any) -> None:
        self.process = subprocess.Popen(command, preexec_fn=_wait_for_parent, **streams)
        os.waitpid(self.process.pid, 0)  # it has stopped before its first instruction
        try:
            start = _page(str(self.process.pid)) + _offset()
            self._place = start + len(_CODE)
            self._write(start, _CODE)
            self.step(seconds)
            _ptrace(_DETACH, self.process.pid)
        except BaseException:
            self.process.kill()
            raise

    def step(self, seconds: int) -> None:
        """Move the clock so far from what it is."""
        self._write(self._place, seconds.to_bytes(8, "little", signed=True))

    def _write(self, place: int, data: bytes) -> None:
        with Path(f"/proc/{self.process.pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(place)
            memory.write(data)


class SteppedServer(NatsServer):
    """A server whose clock is moved by `step`. It is a Go program: nothing that is preloaded reaches it."""

    _seconds = 0
    _stepped: Stepped | None = None

    def step(self, seconds: int) -> None:
        """Move its clock so far from what it is, over restarts too."""
        self._seconds = seconds
        if self._stepped is not None and self._stepped.process.poll() is None:
            self._stepped.step(seconds)

    def launch(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start it with its clock where it was stepped to."""
        self._stepped = Stepped(command, self._seconds, stdout=log, stderr=log)
        return self._stepped.process


def _wait_for_parent() -> None:
    _ptrace(_TRACEME, 0)


def _ptrace(request: int, pid: int) -> None:
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    call.restype = ctypes.c_long
    if call(request, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _page(pid: str) -> int:
    """Return where the kernel's code lies in a process."""
    found = re.search(r"^([0-9a-f]+)-.*\[vdso\]$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 16)


@cache
def _offset() -> int:
    """Return where in it `clock_gettime` begins, which is the same for every process."""
    address = ctypes.cast(ctypes.CDLL("linux-vdso.so.1")["__vdso_clock_gettime"], ctypes.c_void_p).value
    assert address is not None
    return address - _page("self")


@cache
def servers_can_be_stepped() -> bool:
    """Whether the clock of another program can be moved on this machine: tried with one that says its time."""
    if platform.machine() != "x86_64":
        return False
    try:
        told, _ = Stepped(["date", "+%s"], _TRIED_S, stdout=subprocess.PIPE).process.communicate()
        return int(told) - time.time() > _TRIED_S / 2
    except (OSError, AssertionError, AttributeError, ValueError):
        return False


needs_stepped_server = pytest.mark.skipif(
    not servers_can_be_stepped(), reason="needs x86-64 and the right to write to the memory of its own children"
)
