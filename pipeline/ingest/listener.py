"""The listening socket: who may connect; it never takes the place of a live sidecar's.

The supervisor opens it, and hands it to each ingest as standard input, as inetd does: so it stays when ingest ends, and
no client is refused while ingest restarts. An ingest that got none opens its own.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Settings
from pipeline.runtime import locks
from pipeline.runtime.lifecycle import Ending, ExitCode

TOKEN = "VMAFX_SIDECAR_LISTENING"  # noqa: S105  a file's identity
"""The variable that tells ingest that its standard input is the listening socket, and which one."""

_BACKLOG = 512
_UCRED = struct.Struct("3i")
# How long to wait for others that are starting in the same directory, in seconds.
_PATIENCE_S = 2.0
# The value that stands for no group in system calls; ids are below it.
_NO_GROUP = 2**32 - 1


class Listener:
    """A listening Unix socket: `inherited`, where given, else bound here. Raises Ending where that is impossible."""

    def __init__(self, settings: Settings, inherited: socket.socket | None = None) -> None:
        self.path = settings.socket
        self._allowed_uids = frozenset(settings.allowed_uids)
        self._bound_here = inherited is None
        if inherited is not None:
            self._socket, self._identity = inherited, _identity(self.path)
            return
        with _one_at_a_time(self.path.parent):
            _make_way(self.path)
            self._socket = _bind(settings)
            self._identity = _identity(self.path)
            self._socket.setblocking(False)
            self._socket.listen(_BACKLOG)

    @property
    def name(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def token(self) -> str:
        """Which file the socket is: tells the next ingest whether the path still leads to it."""
        return _token(self._identity)

    def is_current(self) -> bool:
        """Whether the path still leads to this socket."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def accept(self) -> socket.socket:
        """Accept one connection. Raises BlockingIOError when nobody waits, PermissionError for a user not allowed."""
        sock, _ = self._socket.accept()
        uid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
        if self._allowed_uids and uid not in self._allowed_uids:
            sock.close()
            raise PermissionError(f"user id {uid} is not in VMAFX_SIDECAR_ALLOWED_UIDS")
        return sock

    def close(self) -> None:
        """Stop listening. A path that was bound here is removed, unless it leads to something else now."""
        self._socket.close()
        if self._bound_here and self.is_current():
            self.path.unlink(missing_ok=True)


def obtain(settings: Settings) -> Listener:
    """Return the listener that standard input is, where the path still leads to it; else a new one."""
    token = os.environ.get(TOKEN, "")
    with contextlib.suppress(OSError):
        if token and token == _token(_identity(settings.socket)):
            return Listener(settings, socket.socket(fileno=os.dup(0)))
    return Listener(settings)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _token(identity: tuple[int, int]) -> str:
    return ":".join(map(str, identity))


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep two that start together from taking each other's socket, bound and not yet listening, for a dead one.

    The lock is on the directory itself. In a shared directory another user may hold it for ever: then go on without.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Ending(ExitCode.BAD_SETTINGS, f"VMAFX_SIDECAR_SOCKET: {directory}: {error.strerror}") from None
    try:
        locks.acquire(fd, _PATIENCE_S)
        yield
    finally:
        os.close(fd)


def _make_way(path: Path) -> None:
    """Remove a socket that no process listens on. Raises Ending if anything else has the path."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Ending(ExitCode.BAD_SETTINGS, f"VMAFX_SIDECAR_SOCKET={path}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a socket"
        raise Ending(
            ExitCode.BAD_SETTINGS, f"VMAFX_SIDECAR_SOCKET={path}: is {kind}; expected a socket or nothing there"
        )
    if _somebody_listens(path):
        raise Ending(ExitCode.ALREADY_RUNNING, f"VMAFX_SIDECAR_SOCKET={path}: another process is listening there")
    if _identity(path) == (found.st_dev, found.st_ino):
        path.unlink()


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # a full backlog (EAGAIN) or no permission: a process is listening
    return True


def _bind(settings: Settings) -> socket.socket:
    """Bind with rights for this user only, then give those of the settings."""
    group = _group_id(settings.socket_group) if settings.socket_group else -1
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        sock.bind(str(settings.socket))
    except OSError as error:
        sock.close()
        raise Ending(ExitCode.BAD_SETTINGS, f"VMAFX_SIDECAR_SOCKET={settings.socket}: {error.strerror}") from None
    finally:
        os.umask(before)
    try:
        os.chown(settings.socket, -1, group)
        settings.socket.chmod(settings.socket_mode)
    except OSError as error:
        sock.close()
        settings.socket.unlink()
        name = f"VMAFX_SIDECAR_SOCKET_GROUP={settings.socket_group}"
        raise Ending(ExitCode.BAD_SETTINGS, f"{name}: {error.strerror}") from None
    return sock


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isdigit() and int(group) < _NO_GROUP else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Ending(ExitCode.BAD_SETTINGS, f"VMAFX_SIDECAR_SOCKET_GROUP={group!r}: there is no such group") from None
