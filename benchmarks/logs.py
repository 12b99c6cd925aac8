"""Logs of libvmaf into a sidecar: speed, memory, an idle watch. `python -m benchmarks.logs` renews its table.

The log is two hours at 24 frames a second, real frames over and over; each round is a process of its own.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.clients import apart
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.report import machine, print_headings, print_rows, replace_section, table
from benchmarks.sidecar import Sidecar, running
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import FEATURES
from pipeline.data import CORPUS
from pipeline.libvmaf.samples import LogSamples, Wanted
from pipeline.model.features import SIX, Features

BOUND = (
    "sending, not reading: of a frame's time most goes into its message, made and put into the queue, and its answer. "
    "Of reading, JSON decodes whole blocks and passes over the columns that nobody wants; in XML every attribute is "
    "made a string first."
)
FRAMES = 172_800
SHORT = 10_000
ROUNDS = 3
IDLE_S = 20.0
_OTHERS = ("aim", "adm3", *(f"adm_scale{scale}" for scale in range(4)), "motion3", "motion")
_HEAD = {
    "json": '{\n  "version": "3.0.0",\n  "fps": 240.00,\n  "frames": [',
    "xml": '<VMAF version="3.0.0">\n  <frames>\n',
    "csv": "",
}
_TAIL = {"json": '\n  ],\n  "pooled_metrics": {\n  }\n}\n', "xml": "  </frames>\n</VMAF>\n", "csv": ""}


class Spent(NamedTuple):
    """What a process took: seconds of processor time, bytes at its peak."""

    seconds: float
    peak: int


def figures() -> list[Figure]:
    """Measure reading by format, sending, memory, and an idle watch."""
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as name, running(6) as sidecar:
        logs = {suffix: write_log(Path(name) / f"long.{suffix}", FRAMES) for suffix in ("json", "xml", "csv")}
        short = write_log(Path(name) / "short.json", SHORT)
        reading = [_reading(path) for path in logs.values()]
        small = [_send(sidecar, short) for _ in range(ROUNDS)]
        large = [_send(sidecar, logs["json"]) for _ in range(ROUNDS)]
        (Path(name) / "watched").mkdir()
        return [
            *reading,
            _rate("send, JSON, by processor time", tuple(FRAMES / spent.seconds for spent in large), 20_000),
            at_most(
                "send, JSON, peak memory",
                f"a log of {SHORT:,} frames",
                f"{FRAMES:,} frames",
                tuple(after.peak / before.peak for before, after in zip(small, large, strict=True)),
                1.1,
            ).with_note(f"{large[0].peak >> 20} MiB"),
            _idle(sidecar, Path(name) / "watched"),
        ]


def write_log(path: Path, frames: int) -> Path:
    """Write a log of real frames with 15 columns, as many as libvmaf writes, in the format of its suffix."""
    corpus = load_corpus(CORPUS)
    names = (*(f"integer_{name}" for name in (*FEATURES, *_OTHERS)), "vmaf")
    rows = zip(corpus.features.tolist(), corpus.target("vmaf").tolist(), strict=True)
    made = [[f"{value:.6f}" for value in (*features, *features, *features[:2], score)] for features, score in rows]
    suffix = path.suffix[1:]
    with path.open("w") as file:
        file.write(_HEAD[suffix] or f"Frame,{','.join(names)},\n")
        for number, values in zip(range(frames), itertools.cycle(made), strict=False):
            file.write(_frame(suffix, number, names, values))
        file.write(_TAIL[suffix])
    return path


def _frame(suffix: str, number: int, names: tuple[str, ...], values: list[str]) -> str:
    if suffix == "csv":
        return f"{number},{','.join(values)},\n"
    if suffix == "xml":
        cells = " ".join(f'{name}="{value}"' for name, value in zip(names, values, strict=False))
        return f'    <frame frameNum="{number}" {cells} />\n'
    cells = ",\n".join(f'        "{name}": {value}' for name, value in zip(names, values, strict=False))
    comma = "," if number else ""
    return f'{comma}\n    {{\n      "frameNum": {number},\n      "metrics": {{\n{cells}\n      }}\n    }}'


def _reading(path: Path) -> Figure:
    """Read and check alone."""
    rates = tuple(apart(read_rate, path) for _ in range(ROUNDS))
    return _rate(f"reading, {path.suffix[1:].upper()}, by processor time", rates, None)


def read_rate(path: Path) -> float:
    """Return frames of a log read a second of processor time."""
    log = LogSamples(path, Wanted(Features.of(SIX)), {})
    began = time.process_time()
    return sum(len(part) for part in log.read()) / (time.process_time() - began)


def _rate(question: str, rates: tuple[float, ...], goal: float | None) -> Figure:
    figure = at_least(question, "-", f"{FRAMES:,} frames, 15 columns", rates, goal or 0)
    return replace(figure, goal=goal, unit="frames/s")


def _send(sidecar: Sidecar, path: Path) -> Spent:
    """Send a log as anybody does, each time as another job; return what the command took."""
    job = f"{path.stem}-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "pipeline", "send", str(path), "--socket", sidecar.socket, "--job-id", job]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        peak = max(peak, _peak(process.pid))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        raise RuntimeError(f"send ended with {process.returncode}")
    sidecar.reconciled()
    return Spent(ended[2].ru_utime + ended[2].ru_stime, peak)


def _peak(pid: int) -> int:
    """Return the largest resident size so far, in bytes: that of getrusage counts what the parent had at the fork."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) << 10 if found else 0


def _idle(sidecar: Sidecar, directory: Path) -> Figure:
    command = [sys.executable, "-m", "pipeline", "send", "--watch", str(directory), "--socket", sidecar.socket]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3.0)
        watched = psutil.Process(process.pid)
        rounds = []
        for _ in range(ROUNDS):
            before = watched.num_ctx_switches().voluntary
            time.sleep(IDLE_S)
            rounds.append((watched.num_ctx_switches().voluntary - before) / IDLE_S)
    finally:
        process.terminate()
        process.wait()
    return at_most("send --watch, wake-ups a second", "-", "nothing changes", tuple(rounds), 0.1)


def main() -> None:
    """Print the table, and renew it in docs/benchmarks.md."""
    found = figures()
    print_headings()
    print_rows(found)
    text = [machine("python -m benchmarks.logs"), "", *table(found), "", f"What bounds it: {BOUND}"]
    replace_section("logs", "\n".join(text))


if __name__ == "__main__":
    main()
