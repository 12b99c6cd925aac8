"""The socket itself: who may come in, and what may be in its place."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline import config
from pipeline.config import Settings
from pipeline.ingest.listener import Listener
from pipeline.runtime.lifecycle import Ending, ExitCode
from tests.support.client import Client, sample
from tests.support.ingest import Ingest, running
from tests.support.processes import REPOSITORY
from tests.support.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


def settings(path: Path, **more: str) -> Settings:
    """Return settings with this socket."""
    return config.load({"VMAFX_SIDECAR_SOCKET": str(path)} | {f"VMAFX_SIDECAR_{k}": v for k, v in more.items()})


def refusal(path: Path, **more: str) -> Ending:
    """Return why there can be no listener."""
    with pytest.raises(Ending) as ending:
        Listener(settings(path, **more))
    return ending.value


def test_only_the_owner_may_connect_by_default(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask was, and the umask is as before."""
    before = os.umask(0)
    try:
        listener = Listener(settings(tmp_path / "s"))
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    listener.close()
    assert not (tmp_path / "s").exists()


@as_root
def test_mode_and_group_are_set(tmp_path: Path) -> None:
    """For containers under different user ids: a group by id or by name."""
    listener = Listener(settings(tmp_path / "s", SOCKET_MODE="0660", SOCKET_GROUP="12345"))
    found = (tmp_path / "s").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 12345)
    listener.close()
    listener = Listener(settings(tmp_path / "s", SOCKET_MODE="0660", SOCKET_GROUP="daemon"))
    assert (tmp_path / "s").group() == "daemon"
    listener.close()


@pytest.mark.parametrize("group", ["no-such-group", "4294967295", "99999999999999999999"])
def test_a_group_that_does_not_exist_is_a_bad_setting(tmp_path: Path, group: str) -> None:
    """One line that names the setting; nothing is left behind."""
    ending = refusal(tmp_path / "s", SOCKET_GROUP=group)
    assert ending.code == ExitCode.BAD_SETTINGS
    assert "VMAFX_SIDECAR_SOCKET_GROUP" in str(ending)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("mode", ["0666", "0622", "0606", "777", "0060", "abc", "01600"])
def test_a_mode_that_lets_everybody_in_is_refused(mode: str) -> None:
    """Before anything is started."""
    with pytest.raises(config.ConfigError, match=r"VMAFX_SIDECAR_SOCKET_MODE=.*expected an octal mode"):
        settings(Path("/run/s"), SOCKET_MODE=mode)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed process left is no obstacle."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    Listener(settings(tmp_path / "s")).close()


def test_a_live_listener_is_never_evicted(tmp_path: Path) -> None:
    """Not even one of whom nobody accepts, with a full backlog: it goes on, the second is refused."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(0)
        inode = path.stat().st_ino
        first = refusal(path)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(str(path))
        second = refusal(path)
        for each in waiting:
            each.close()
        assert path.stat().st_ino == inode
    assert (first.code, second.code) == (ExitCode.ALREADY_RUNNING, ExitCode.ALREADY_RUNNING)
    assert f"VMAFX_SIDECAR_SOCKET={path}: another process is listening there" in str(first)


def _file(path: Path) -> None:
    path.write_text("precious")


def _directory(path: Path) -> None:
    path.mkdir()


def _link_to_file(path: Path) -> None:
    path.with_name("target").write_text("precious")
    path.symlink_to(path.with_name("target"))


def _dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _link_to_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path.with_name("other")))
    path.symlink_to(path.with_name("other"))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("put", [_file, _directory, _link_to_file, _dangling_link, _link_to_socket, _fifo])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, put: object) -> None:
    """A file, a directory, a link wherever it leads: refused by name, and still there, unchanged."""
    assert callable(put)
    put(tmp_path / "s")
    before = sorted((path.name, path.lstat().st_ino, path.lstat().st_size) for path in tmp_path.iterdir())
    ending = refusal(tmp_path / "s")
    assert ending.code == ExitCode.BAD_SETTINGS
    assert "expected a socket or nothing there" in str(ending)
    assert before == sorted((path.name, path.lstat().st_ino, path.lstat().st_size) for path in tmp_path.iterdir())


def test_a_directory_that_is_not_there_is_a_bad_setting(tmp_path: Path) -> None:
    """The message says what the system said."""
    ending = refusal(tmp_path / "no" / "s")
    assert (ending.code, "No such file or directory" in str(ending)) == (ExitCode.BAD_SETTINGS, True)


def test_on_close_a_socket_of_somebody_else_stays(tmp_path: Path) -> None:
    """An operator who replaced it by hand keeps the replacement."""
    listener = Listener(settings(tmp_path / "s"))
    (tmp_path / "s").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        listener.close()
        assert (tmp_path / "s").exists()


@as_root
def test_a_user_who_is_not_on_the_list_is_closed_at_once(tmp_path: Path) -> None:
    """The list is checked against what the kernel says of the peer; those on it are served meanwhile."""
    with running(tmp_path, VMAFX_SIDECAR_ALLOWED_UIDS="0,1000", VMAFX_SIDECAR_SOCKET_MODE="0660") as ingest:
        tmp_path.chmod(0o755)
        assert _answer_to_user(1000, ingest) == b"", "the mode keeps out whom the list lets in"
        ingest.socket.chmod(0o666)
        _enterable(tmp_path)
        assert _answer_to_user(1000, ingest).startswith(b'{"ok":true')
        assert _answer_to_user(65534, ingest) == b""
        eventually(lambda: ingest.report().connections_refused == 1)
        with ingest.client() as client:
            assert client.ask(sample("root"))["ok"]


def _enterable(directory: Path) -> None:
    for parent in (directory, *directory.parents[:-2]):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)


def _answer_to_user(uid: int, ingest: Ingest) -> bytes:
    """Send one sample as another user; return the answer, empty where there is none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(uid)
        try:
            with Client(ingest.socket) as client:
                client.write(sample(f"of {uid}"))
                os.write(writing, client.socket.recv(4096))
        except OSError:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def test_two_that_start_together_do_not_evict_each_other(tmp_path: Path) -> None:
    """Under different instance names, so that nothing but the socket stands between them: one serves, one refuses."""
    path = tmp_path / "s"
    with ExitStack() as stack:
        starters = [stack.enter_context(_starter(path)) for _ in range(3)]
        for starter in starters:
            assert _said(starter) == "ready"
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
            _tell(starters)
            assert sorted(map(_said, starters)) == ["listening", "refused", "refused"]
            _tell(starters)
            path.unlink()


def _starter(path: Path) -> "subprocess.Popen[str]":
    """Start a process that listens, and stops listening, at a line each."""
    command = [sys.executable, "-c", _STARTER, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def _tell(starters: "list[subprocess.Popen[str]]") -> None:
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()


def _said(starter: "subprocess.Popen[str]") -> str:
    assert starter.stdout is not None
    return starter.stdout.readline().strip()


_STARTER = """
import sys
from pathlib import Path
from pipeline import config
from pipeline.ingest.listener import Listener
from pipeline.runtime.lifecycle import Ending
settings = config.load({"VMAFX_SIDECAR_SOCKET": sys.argv[1]})
print("ready", flush=True)
for line in sys.stdin:
    try:
        listener = Listener(settings)
        print("listening", flush=True)
    except Ending:
        print("refused", flush=True)
    sys.stdin.readline()
    if "listener" in locals():
        del listener
"""
