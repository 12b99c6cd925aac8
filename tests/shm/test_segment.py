"""Segments: whole or not at all, never misread, never gone because of who used them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from pipeline.runtime.locks import FOREVER
from pipeline.shm import segment
from pipeline.shm.segment import HEADER_SIZE, SHM_DIR, Layout, SegmentError, SegmentMismatch, SharedMemoryDenied
from tests.shm.interpreters import VERSIONS, interpreter
from tests.support.processes import REPOSITORY

LAYOUT = Layout("test", (4, 2), 1000)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


def test_a_new_segment_is_zero_and_has_its_layout(segment_name: str) -> None:
    """Who attaches finds kind, shape and size as they were asked for."""
    made, is_new = segment.attach_or_create(segment_name, LAYOUT)
    assert is_new
    assert bytes(made.body) == bytes(1000)
    found = segment.attach(segment_name, "test", (4, 2))
    assert found.layout.size == 1000
    assert (SHM_DIR / segment_name).stat().st_mode & 0o777 == 0o600


def test_the_same_layout_is_attached_to_not_replaced(segment_name: str) -> None:
    """What an owner left is what the next one finds."""
    made, _ = segment.attach_or_create(segment_name, LAYOUT)
    made.body[7] = 42
    again, is_new = segment.attach_or_create(segment_name, LAYOUT)
    assert (is_new, again.body[7]) == (False, 42)


@pytest.mark.parametrize(
    "other", [Layout("test", (4, 3), 1000), Layout("other", (4, 2), 1000), Layout("test", (4, 2), 1001)]
)
def test_another_layout_is_never_misread_and_its_owner_replaces_it(segment_name: str, other: Layout) -> None:
    """A reader is told what is there; the owner makes its own; who still has the old one learns that it is old."""
    old, _ = segment.attach_or_create(segment_name, other)
    if (other.kind, other.shape) != (LAYOUT.kind, LAYOUT.shape):
        with pytest.raises(SegmentMismatch, match=r"holds (test|other) of shape .* expected test of shape \(4, 2\)"):
            segment.attach(segment_name, "test", (4, 2))
    new, is_new = segment.attach_or_create(segment_name, LAYOUT)
    assert is_new
    assert new.is_current()
    assert not old.is_current()


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(HEADER_SIZE), b"VMAFXSHM\x63" + bytes(2000)], ids=["empty", "byte", "zeros", "version"]
)
def test_what_is_no_segment_is_replaced_by_the_owner(segment_name: str, content: bytes) -> None:
    """A file that something else left: a reader refuses it, the owner makes a segment of it."""
    (SHM_DIR / segment_name).write_bytes(content)
    with pytest.raises(SegmentMismatch):
        segment.attach(segment_name, "test")
    _, is_new = segment.attach_or_create(segment_name, LAYOUT)
    assert is_new


def test_a_larger_one_that_fits_is_kept(segment_name: str) -> None:
    """An owner that can do with what is there makes nothing, and needs no room; with less than it needs, it does."""
    old, _ = segment.attach_or_create(segment_name, LAYOUT)
    old.body[0] = 5
    for needed, is_kept in ((900, True), (1000, True), (1100, False)):
        wanted = Layout("test", (9, 9), needed)
        found, is_new = segment.attach_or_create(segment_name, wanted, fits=partial(_has_room, needed))
        assert (is_new, found.body[0]) == (not is_kept, 5 if is_kept else 0)


def _has_room(size: int, layout: Layout) -> bool:
    return layout.size >= size


def test_a_lock_whose_file_was_removed_is_nobodys(segment_name: str) -> None:
    """Who waited for it gets the one that others try from now on."""
    first = segment.take_lock(segment_name)
    with pytest.raises(BlockingIOError):
        segment.take_lock(segment_name)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(segment.take_lock, segment_name, FOREVER)
        while segment_name not in _waited_for(os.getpid()):
            assert not waiting.done()
        (SHM_DIR / f"{segment_name}.lock").unlink()
        os.close(first)
        second = waiting.result(60)
    assert os.fstat(second).st_ino == (SHM_DIR / f"{segment_name}.lock").stat().st_ino
    with pytest.raises(BlockingIOError):
        segment.take_lock(segment_name)
    os.close(second)


def _waited_for(pid: int) -> str:
    """Return the names of the files on whose locks the threads of a process wait."""
    inodes = {
        line.split()[6].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines() if "->" in line
    }
    opened = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists()]
    return " ".join(str(path) for path in opened if path.exists() and str(path.stat().st_ino) in inodes)


def test_a_segment_cut_short_is_refused(segment_name: str) -> None:
    """The header's size and the file's must agree: reading past the end would be a bus error."""
    segment.create(segment_name, LAYOUT)
    os.truncate(SHM_DIR / segment_name, HEADER_SIZE + 500)
    with pytest.raises(SegmentMismatch, match="its header says"):
        segment.attach(segment_name, "test")


def test_absent_is_told_from_unusable(segment_name: str) -> None:
    """Who waits for an owner must know that there is nothing yet."""
    with pytest.raises(segment.SegmentAbsent):
        segment.attach(segment_name, "test")


def test_many_at_once_make_one_segment(segment_name: str) -> None:
    """Eight processes that start together: one creates, all see the same."""
    code = (
        "import sys; from pipeline.shm import segment; from pipeline.shm.segment import Layout;"
        "sys.stdin.read(1); made, new = segment.attach_or_create(sys.argv[1], Layout('test', (4, 2), 1000));"
        "made.body[int(sys.argv[2])] += 1; print(new)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, segment_name, str(i)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        for i in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda process: process.communicate(b"x")[0], started))
    assert sorted(answers) == [b"False\n"] * 7 + [b"True\n"]
    assert bytes(segment.attach(segment_name, "test").body[:8]) == b"\1" * 8


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_segment_outlives_whoever_attached(segment_name: str, version: str, end: str) -> None:
    """Python before 3.13 has a resource tracker that unlinks what an exiting process had attached: not ours."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    made, _ = segment.attach_or_create(segment_name, LAYOUT)
    made.body[0] = 99
    command = [python, "-S", str(Path(__file__).with_name("attached.py")), str(REPOSITORY), segment_name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"99\n"
        if end == "kill":
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(b"")
    assert errors == b""
    assert made.is_current()
    assert segment.attach(segment_name, "test").body[0] == 99


def test_what_a_creator_that_died_left_unfinished_is_removed(segment_name: str) -> None:
    """A process killed between making and naming a segment must not fill memory, life after life."""
    unfinished = SHM_DIR / f"{segment_name}.12345.new"
    unfinished.write_bytes(b"half")
    segment.attach_or_create(segment_name, LAYOUT)
    assert not unfinished.exists()


def test_a_symbolic_link_is_not_followed(segment_name: str, tmp_path: Path) -> None:
    """Neither as the segment nor as its lock: a file of ours elsewhere would be written to."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious" + bytes(2000))
    (SHM_DIR / segment_name).symlink_to(victim)
    with pytest.raises((OSError, segment.SegmentError)):
        segment.attach(segment_name, "test")
    (SHM_DIR / segment_name).unlink()
    (SHM_DIR / f"{segment_name}.lock").symlink_to(victim)
    with pytest.raises(SharedMemoryDenied, match=r"\.lock: "):
        segment.attach_or_create(segment_name, LAYOUT)
    assert victim.read_bytes().startswith(b"precious")


def as_nobody(call: Callable[[], object]) -> str:
    """Make a call as the user nobody, in a process of its own; return the error it ends with, or ""."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            call()
        except SegmentError as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@as_root
def test_another_users_segment_is_not_trusted(segment_name: str) -> None:
    """Whoever owns a segment can cut it short: it is refused in one line, even where its mode lets everybody in."""
    made, _ = segment.attach_or_create(segment_name, LAYOUT)
    (SHM_DIR / segment_name).chmod(0o666)
    assert "belongs to user 0, expected 65534" in as_nobody(partial(segment.attach, segment_name, "test"))
    assert as_nobody(partial(segment.attach_or_create, segment_name, LAYOUT)).startswith("SharedMemoryDenied")
    (SHM_DIR / f"{segment_name}.lock").chmod(0o666)
    denied = as_nobody(partial(segment.attach_or_create, segment_name, LAYOUT))
    assert denied.startswith("SharedMemoryDenied")
    assert "belongs to user 0, expected 65534" in denied
    assert made.is_current()


@as_root
def test_root_looks_at_any_sidecar_but_owns_its_own_regions(segment_name: str) -> None:
    """`status` as root works on another user's sidecar; a sidecar run as root does not build on another's memory."""
    as_nobody(partial(segment.attach_or_create, segment_name, LAYOUT))
    assert segment.attach(segment_name, "test").owner == 65534
    made, is_new = segment.attach_or_create(segment_name, LAYOUT)
    assert (is_new, made.owner) == (True, 0)


def test_what_was_attached_and_dropped_leaves_no_descriptor(segment_name: str) -> None:
    """Whoever looks at a sidecar again and again, views and all, does not run out of descriptors."""
    made, _ = segment.attach_or_create(segment_name, LAYOUT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        view = segment.attach(segment_name, "test").body[:8].cast("q")
        assert view[0] == 0
    del view
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    made.close()
