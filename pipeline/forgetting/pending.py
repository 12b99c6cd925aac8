"""What a command has begun and not finished: written before anything is removed, gone when all is done."""

from __future__ import annotations

import os

import click
import msgspec

from pipeline.config import Settings
from pipeline.forgetting.selection import Selection
from pipeline.runtime import regions
from pipeline.runtime.durable import write_durably
from pipeline.shm.segment import take_lock

FILE = "forget.json"
"""In the state directory."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What is being forgotten, and the names that go with it, which memory alone knew; afterwards neither.

    `retrain`: then what is left is to learn again.
    """

    selection: Selection
    names: list[str] = []
    retrain: bool = False

    @property
    def is_removed(self) -> bool:
        """Whether nothing is left but to learn again."""
        return self.selection == Selection()


def read(settings: Settings) -> Pending | None:
    """Return what a command has left; None for nothing. Raises ClickException where it cannot be read."""
    path = settings.state_dir / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pending)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path}: {error}") from None


def write(settings: Settings, pending: Pending) -> None:
    """Write down what is left to do; nobody else does meanwhile, since the caller has the processes stand still."""
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(settings.state_dir / FILE, msgspec.json.encode(pending), mode=0o600)


def removed(settings: Settings, *, retrain: bool) -> None:
    """Write down that everything is removed; the caller has the processes stand still."""
    if retrain:
        write(settings, Pending(selection=Selection(), retrain=True))
    else:
        (settings.state_dir / FILE).unlink()


def learned(settings: Settings) -> None:
    """Write down that nothing is left, unless another command has taken over meanwhile: then it learns again itself."""
    try:
        lock = take_lock(regions.still_lock(settings.instance_name))
    except BlockingIOError:
        return
    try:
        left = read(settings)
        if left is not None and left.is_removed:
            (settings.state_dir / FILE).unlink()
    finally:
        os.close(lock)


def together(left: Pending | None, asked: Selection, *, retrain: bool) -> list[Pending]:
    """Return what to forget, in order: what was left, and what is asked unless it is the same.

    To learn again is left by each of them, until the last is done.
    """
    retrain = retrain or (left is not None and left.retrain)
    wanted = [] if left is None else [left]
    if asked != Selection():
        wanted = [each for each in wanted if not each.is_removed]
        wanted += [Pending(selection=asked)] if asked not in [each.selection for each in wanted] else []
    return [msgspec.structs.replace(each, retrain=retrain) for each in wanted]
