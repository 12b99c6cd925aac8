"""Writes that fail, or that end with the process, at each of their steps."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.correction import CorrectionStore
from tests.correction.encodes import encodes

STEPS = ["os.fsync 1", "os.replace 1", "os.fsync 2"]


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_ending_at_any_step_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """Whether the process ends before or after a step, the old state is there or the new, and learning goes on."""
    store = CorrectionStore("v1", tmp_path)
    captures = encodes(3)
    store.record("libx264", captures[0])
    name, at = step.split()
    with monkeypatch.context() as patched:
        patched.setattr(name, ending_at(getattr(os, name.removeprefix("os.")), int(at), after))
        with pytest.raises(Killed):
            store.record("libx264", captures[1])
    replaced = STEPS.index(step) > 1 or (step == "os.replace 1" and after)
    assert store.load("libx264").captures == (2 if replaced else 1)
    assert store.record("libx264", captures[2])[0].captures == (3 if replaced else 2)


def ending_at(call: Callable[..., Any], at: int, after: bool) -> Callable[..., Any]:
    """Return `call` with its `at`-th use ending the process, before or after the deed."""
    uses = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal uses
        uses += 1
        if uses == at and not after:
            raise Killed
        result = call(*arguments, **named)
        if uses == at:
            raise Killed
        return result

    return counted


def test_a_disk_that_is_full_keeps_the_old_state(tmp_path: Path) -> None:
    """A write that stops half way raises, the old state stays, and no half-written file is left."""
    store = CorrectionStore("v1", tmp_path)
    store.record("libx264", encodes(1)[0])
    before = store.path("libx264").read_bytes()
    with files_no_longer_than(1000), pytest.raises(OSError, match="File too large"):
        store.record("libx264", encodes(1)[0])
    assert store.path("libx264").read_bytes() == before
    assert sorted(path.name for path in store.path("libx264").parent.iterdir()) == ["state.json", "state.json.lock"]


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Have the kernel refuse writes beyond this many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
