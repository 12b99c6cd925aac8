"""Scores from ONNX Runtime in a process of its own: `python -m pipeline.model.score`.

Standard input: length of the model as u32, the model, rows float32[n, n_features]; standard output: scores float32[n].
"""

from __future__ import annotations

import signal
import struct
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from pipeline.model.errors import UnusableModel

_LENGTH = struct.Struct("<I")
_PATIENCE_S = 60.0
# A stop of the process group, and the kernel short of memory.
_ENDED_BY_OTHERS = {signal.SIGTERM, signal.SIGINT, signal.SIGKILL}


class Interrupted(Exception):
    """The attempt was ended by a signal from outside; the message says which model and signal."""


def scores(model: bytes, features: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Return the scores float32[n] of features float32[n, n_features]; raises UnusableModel where there are none.

    Raises Interrupted if a signal from outside ended the attempt: that says nothing about the model.
    """
    request = _LENGTH.pack(len(model)) + model + np.ascontiguousarray(features, np.float32).tobytes()
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=request, capture_output=True, timeout=_PATIENCE_S, check=False)
    if -done.returncode in _ENDED_BY_OTHERS:
        raise Interrupted(f"{name}: its check was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        death = (
            f"ONNX Runtime ended with signal {-done.returncode}"
            if done.returncode < 0
            else f"exit code {done.returncode}"
        )
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines() or [death]
        raise UnusableModel(name, f"ONNX Runtime does not run it: {reason[-1]}")
    return np.frombuffer(done.stdout, np.float32)


def main() -> None:
    """Serve one request."""
    from pipeline.model.runtime import OnnxModel

    request = sys.stdin.buffer.read()
    end = _LENGTH.size + _LENGTH.unpack_from(request)[0]
    model = OnnxModel(request[_LENGTH.size : end])
    rows = np.frombuffer(request[end:], np.float32)
    sys.stdout.buffer.write(model.predict(rows.reshape(-1, model.n_features)).tobytes())


if __name__ == "__main__":
    main()
