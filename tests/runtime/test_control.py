"""Orders: in force at once, after restarts, and written down."""

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from pipeline import config
from pipeline.config import Settings
from pipeline.runtime import control, regions
from pipeline.runtime.control import Control, ControlError, Order, Orders, Reset
from pipeline.shm import segment
from tests.support.dying import completes, kill, refuse


@pytest.fixture
def settings(tmp_path: Path, instance: str) -> Settings:
    """Return settings of a sidecar of its own."""
    environ = {"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path / "online")}
    return config.load(environ)


def pause(now: Control, order: Order) -> Control:
    """Pause."""
    return msgspec.structs.replace(now, paused=order)


def resume(now: Control, _order: Order) -> Control:
    """Go on."""
    return msgspec.structs.replace(now, paused=None)


def test_an_order_reaches_who_follows_and_who_starts_later(settings: Settings) -> None:
    """Through the region where a sidecar is there; from the file where memory is lost."""
    regions.open_board(settings)
    following = Orders(settings)
    assert following.control == Control()
    control.change(settings, "pause", "noise", pause)
    news, refreshed = following.is_news, following.refresh()
    assert (news, refreshed) == (True, True)
    assert following.control.paused is not None
    assert (following.control.paused.text, following.control.paused.reason) == ("pause", "noise")
    segment.remove(regions.name(settings.instance_name, "control"))
    assert following.refresh()
    assert Orders(settings).control == following.control
    control.change(settings, "resume", "", resume)
    following.refresh()
    assert following.control == msgspec.structs.replace(Orders(settings).control, paused=None)


def test_without_a_sidecar_an_order_waits_in_the_file(settings: Settings) -> None:
    """It leaves nothing in shared memory, and is in force at the next start."""
    control.change(settings, "pause", "", pause)
    assert regions.leftovers(settings.instance_name) == []
    assert Orders(settings).control.number == 1


def test_history_has_every_order_once_whoever_was_killed(settings: Settings) -> None:
    """A command that died between file and log, or in the middle of a line, loses no order and doubles none."""
    for _ in range(3):
        control.change(settings, "pause", "why", pause)
    log = settings.state_dir / control.LOG
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    assert [order.number for order in control.history(settings.state_dir)] == [1, 2, 3]
    log.write_bytes(b"".join(lines[:2]) + lines[2][:10] + b"\n")
    control.change(settings, "resume", "", resume)
    assert [order.number for order in control.history(settings.state_dir)] == [1, 2, 3, 4]
    assert {order.reason for order in control.history(settings.state_dir)[:3]} == {"why"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"number": "x"}', b"\xff\xfe", b'{"paused": 3}'])
def test_orders_that_cannot_be_read_are_an_error(settings: Settings, content: bytes) -> None:
    """Nobody takes them for none: that would end a pause."""
    settings.state_dir.mkdir(parents=True)
    (settings.state_dir / control.FILE).write_bytes(content)
    with pytest.raises(ControlError, match=control.FILE):
        Orders(settings)
    with pytest.raises(ControlError, match=control.FILE):
        control.change(settings, "pause", "", pause)


def test_the_weights_of_a_reset_travel_with_it(settings: Settings) -> None:
    """They are there after memory was lost; those of an older reset are removed."""
    regions.open_board(settings)

    def reset(now: Control, order: Order) -> Control:
        return msgspec.structs.replace(now, reset=Reset(number=order.number, to="7", base_digest="b" * 64))

    control.change(settings, "reset --to 7", "", reset, b"12345678")
    assert Orders(settings).weights == b"12345678"
    segment.remove(regions.name(settings.instance_name, "control"))
    assert Orders(settings).weights == b"12345678"
    control.change(settings, "pause", "", pause)
    assert Orders(settings).weights == b"12345678"
    control.change(settings, "reset --to 7", "", reset, b"abcd")
    assert Orders(settings).weights == b"abcd"
    assert len(list(settings.state_dir.glob("reset-*.f32"))) == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_lock_keeps_nobody_from_reading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A trainer starts where the directory cannot be written, paused or not, as it would have been."""
    control.change(settings, "pause", "", pause)

    def refuse_lock(path: Path, _patience: float) -> NoReturn:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("pipeline.runtime.locks.taken", refuse_lock)
    assert Orders(settings).control.paused is not None
    (settings.state_dir / control.FILE).unlink()
    segment.remove(regions.name(settings.instance_name, "control"))
    assert Orders(settings).control == Control()


def test_orders_whose_weights_are_missing_are_no_absence_of_orders(settings: Settings) -> None:
    """A pause that lies in the same file is not lost with them."""
    control.change(settings, "reset --to 7", "", reset_to_seven, b"12345678")
    control.change(settings, "pause", "", pause)
    (path,) = settings.state_dir.glob("reset-*.f32")
    path.unlink()
    with pytest.raises(ControlError, match=path.name):
        Orders(settings)


def test_a_disk_that_refuses_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is not in force, and not in the history."""
    regions.open_board(settings)
    following = Orders(settings)

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", str(settings.state_dir))

    monkeypatch.setattr(control, "write_durably", refuse)
    with pytest.raises(OSError, match="No space"):
        control.change(settings, "pause", "", pause)
    assert not following.refresh()
    assert control.history(settings.state_dir) == []


def test_the_file_says_in_plain_words_what_is_in_force(settings: Settings) -> None:
    """An operator may read it."""
    control.change(settings, "pause", "noise", pause)
    document = json.loads((settings.state_dir / control.FILE).read_bytes())
    assert document["paused"]["reason"] == "noise"
    (line,) = control.read(settings.state_dir).control.lines()
    assert line.startswith("paused by ")
    assert line.endswith(": noise")


def reset_to_seven(now: Control, order: Order) -> Control:
    """Start over from version 7."""
    return msgspec.structs.replace(now, reset=Reset(number=order.number, to="7", base_digest="b" * 64))


@pytest.mark.parametrize("fault", [kill, refuse])
def test_a_command_that_dies_leaves_the_old_order_or_the_new_one(
    settings: Settings, fault: Callable[[], NoReturn]
) -> None:
    """At any change to the disk: the weights fit the order, history has each order once, the next command works."""
    control.change(settings, "reset --to 7", "", reset_to_seven, b"old1")
    for step in range(1, 60):
        before = control.read(settings.state_dir).control.number
        job = partial(control.change, settings, "reset --to 7", "", reset_to_seven, f"{step:04}".encode())
        finished = completes(job, step, fault)
        now = control.read(settings.state_dir)
        assert now.control.number in {before, before + 1}
        assert now.weights == (
            f"{step:04}".encode() if now.control.number > before else b"next" if step > 1 else b"old1"
        )
        control.change(settings, "reset --to 7", "", reset_to_seven, b"next")
        numbers = [order.number for order in control.history(settings.state_dir)]
        assert numbers == sorted(set(numbers)) == list(range(1, numbers[-1] + 1))
        assert list(settings.state_dir.glob(".*.tmp")) == []
        assert len(list(settings.state_dir.glob("reset-*.f32"))) == 1
        if finished:
            assert step > 10
            return
    pytest.fail("the job never came to its end")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_orders_belongs_to_the_user_of_the_checkpoints(settings: Settings) -> None:
    """`docker exec` is often root's: the sidecar has to read its orders, and its user to change them."""
    settings.checkpoint_dir.mkdir()
    os.chown(settings.checkpoint_dir, 65534, 65534)
    control.change(settings, "reset --to 7", "", reset_to_seven, b"12345678")
    made = [settings.state_dir, *settings.state_dir.iterdir()]
    assert {path.stat().st_uid for path in made} == {65534}
    assert len(made) == 5
