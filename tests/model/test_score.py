"""Scores from a process of its own: what its end says of the model, and what does not."""

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.model.errors import UnusableModel
from pipeline.model.score import Interrupted, scores

ROWS = np.zeros((2, 6), np.float32)


def runs(script: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have another program in the place of the interpreter."""
    program = directory / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_the_check_says_nothing_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A stop of the whole process group, or the kernel out of memory."""
    runs(f"kill -{number.value} $$", tmp_path, monkeypatch)
    with pytest.raises(Interrupted, match=number.name):
        scores(b"model", ROWS, "m.onnx")


@pytest.mark.parametrize(
    ("script", "said"),
    [("kill -11 $$", "ended with signal 11"), ("exit 3", "exit code 3"), ("echo why >&2; exit 1", "why")],
)
def test_a_model_that_does_not_run_is_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """With a reason, always."""
    runs(script, tmp_path, monkeypatch)
    with pytest.raises(UnusableModel, match=said):
        scores(b"model", ROWS, "m.onnx")
