"""An archive of real size: a day by the real writer, more days up to 10 GB, and one job forgotten.

`python -m benchmarks.archive_month` renews its table in docs/benchmarks.md; `--gigabytes 1 --hours 2` is a short one,
which only prints. The other days have the first one's content under other dates; the job is in the first alone. A job
is five minutes of one of ten encoders, its name random, so that a file's smallest and largest name tell little.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import structlog

from benchmarks.archive import entropy_limit
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.report import machine, print_headings, print_rows, replace_section, table
from benchmarks.sidecar import environment_in
from benchmarks.traffic import messages
from pipeline.archive import names
from pipeline.archive.batch import Batch
from pipeline.archive.position import Position
from pipeline.archive.store import Store
from pipeline.archive.table import chosen
from pipeline.shm.byte_ring import Origin, Record

BOUND = (
    "to decode every field, and zstd over the features. To forget, the column of jobs is read of every file, and two "
    "files are written anew: what it takes grows with the number of files."
)
RATE = 100
"""Samples a second."""
FILE_S, ENCODERS, JOB_S = 300, 10, 300
MIDNIGHT = 1_767_225_600
DAY_S = 86_400
RING = 1
HOURS, GIGABYTES = 24.0, 10.0
_FORGOTTEN = (3, 20)
"""Encoder and number of the job that is forgotten."""


@dataclass(frozen=True)
class Day:
    """What was written: bytes of JSON and of files, samples, and seconds of processor time that it took."""

    raw: int
    size: int
    samples: int
    seconds: float


def figures(n_features: int, hours: float, gigabytes: float, under: Path | None) -> list[Figure]:
    """Measure on an archive in a directory of its own `under` this one, which is removed."""
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-", dir=under) as directory:
        archive = Path(directory) / "archive"
        lines = messages(FILE_S * RATE, n_features)
        day = write_day(archive, lines, hours)
        job = job_id(*_FORGOTTEN)
        holders = {part.path for part in names.parts(archive) if chosen(part.path, {"job_id": job}, None, None).any()}
        _repeat(archive, holders, int(gigabytes * 1e9))
        size, files = _size(archive)
        seconds, receipt = _forget(Path(directory), archive, job, holders)
    setting = f"{n_features} features"
    a_sample = day.size / day.samples
    deflated = entropy_limit(lines, n_features)
    return [
        at_least(
            "archive, samples a second of half a core", "20,000", setting, (day.samples / day.seconds / 40_000,), 1
        ).with_note(f"{day.samples:,} samples"),
        Figure("bytes a sample", "raw JSON", setting, (day.size / day.raw,), note=f"{a_sample:.0f} bytes"),
        Figure("bytes a sample", "features as float32, deflated", setting, (a_sample / deflated,)),
        Figure(
            "30 days", "-", f"{setting}, {RATE} samples/s", (30 * DAY_S * RATE * a_sample / 1e9,), unit="GB",
            note=f"{30 * DAY_S // FILE_S:,} files, computed from {hours:g} hours",
        ),
        at_most(
            "forget one job, for 10 GB", "-", f"{setting}, {size / 1e9:.1f} GB, {files:,} files",
            (seconds * 1e10 / size,), 60, "s",
        ).with_note(f"{receipt['files']} files written anew, those that hold it"),
    ]  # fmt: skip


def write_day(archive: Path, lines: list[bytes], hours: float) -> Day:
    """Write the first hours of a day, a file each five minutes, by what the archive's process writes with."""
    store = Store(archive, 0, 0, structlog.get_logger())
    store.open()
    raw = samples = 0
    seconds = 0.0
    for file in range(int(hours * 3600) // FILE_S):
        records = list(_records(lines, file))
        raw += sum(len(line) + 1 for record in records for line in record.lines)
        began, batch = time.process_time(), Batch()
        for record in records:
            batch.add(record)
        store.write(batch, Position())
        seconds += time.process_time() - began
        samples += len(batch)
    store.close()
    return Day(raw, _size(archive)[0], samples, seconds)


def job_id(encoder: int, number: int) -> str:
    """Return the name of an encoder's job."""
    return hashlib.blake2b(f"{encoder} {number}".encode(), digest_size=16).hexdigest()


def _records(lines: list[bytes], file: int) -> Iterator[Record]:
    """Yield a file's samples by the second; an encoder begins a job half a minute after the one before it."""
    for second in range(file * FILE_S, (file + 1) * FILE_S):
        heads = [_head(encoder, second).encode() for encoder in range(ENCODERS)]
        place = second % FILE_S * RATE
        found = [
            heads[i % ENCODERS] + line[line.index(b',"features"') : -1]
            for i, line in enumerate(lines[place : place + RATE])
        ]
        yield Record(Origin(RING, second * RATE, MIDNIGHT + second, second, 0), found, 0)


def _head(encoder: int, second: int) -> str:
    number = (second + encoder * JOB_S // ENCODERS) // JOB_S
    captured = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(MIDNIGHT + second - 2))
    return (
        f'{{"job_id":"{job_id(encoder, number)}","source_id":"clip {number % 40}","node_id":"encoder-{encoder}",'
        f'"codec":"libx264","width":1920,"height":1080,"captured_at":"{captured}"'
    )


def _repeat(archive: Path, holders: set[Path], size: int) -> None:
    """Add days until the archive has `size` bytes; in the place of files that hold the job stand others."""
    parts = [part for part in names.parts(archive) if part.path not in holders]
    total, day = _size(archive)[0], 0
    while total < size:
        day += 1
        directory = archive / names.directory_of(None, MIDNIGHT + day * DAY_S)
        directory.mkdir()
        for place in range(len(parts) + len(holders)):
            part = parts[place % len(parts)]
            first = place * FILE_S * RATE
            name = names.file_name(RING + day, first, first + FILE_S * RATE - 1)
            shutil.copyfile(part.path, directory / name)
            total += part.path.stat().st_size
            if total >= size:
                break


def _forget(directory: Path, archive: Path, job: str, holders: set[Path]) -> tuple[float, dict[str, Any]]:
    """Run the command on files that are not in the system's cache; return its seconds and what it says of the archive.

    Raises RuntimeError where it changed other files than those that hold the job, or did not change one of them.
    """
    _out_of_cache(archive)
    before = _marks(archive)
    environment = environment_in(directory, 6, {"ARCHIVE_DIR": str(archive)})
    began = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "forget", "--job", job]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    after = _marks(archive)
    changed = {path for path in before if before[path] != after.get(path)}
    if changed != holders or any(chosen(path, {"job_id": job}, None, None).any() for path in holders & after.keys()):
        raise RuntimeError(f"{len(changed)} files were changed, {len(holders)} hold the job")
    receipt: dict[str, Any] = json.loads(done.stdout)["removed"]["archive"]
    return seconds, receipt


def _out_of_cache(archive: Path) -> None:
    for part in names.parts(archive):
        with part.path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _marks(archive: Path) -> dict[Path, tuple[int, int]]:
    found = ((part.path, part.path.stat()) for part in names.parts(archive))
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found}


def _size(archive: Path) -> tuple[int, int]:
    """Return bytes and number of the files."""
    sizes = [part.path.stat().st_size for part in names.parts(archive)]
    return sum(sizes), len(sizes)


@click.command()
@click.option("--hours", default=HOURS, show_default=True, help="Of samples by the real writer.")
@click.option("--gigabytes", default=GIGABYTES, show_default=True, help="Of files in all, which the disk has to have.")
@click.option("--features", multiple=True, type=int, default=(80,), show_default=True)
@click.option(
    "--directory", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Where.  [default: /tmp]"
)
def main(hours: float, gigabytes: float, features: tuple[int, ...], directory: Path | None) -> None:
    """Write, forget, and print the table; with all as it is, renew it in docs/benchmarks.md."""
    found: list[Figure] = []
    print_headings()
    for n_features in features:
        new = figures(n_features, hours, gigabytes, directory)
        print_rows(new)
        found += new
    if (hours, gigabytes, features) == (HOURS, GIGABYTES, (80,)):
        text = [machine("python -m benchmarks.archive_month"), "", *table(found), "", f"What bounds it: {BOUND}"]
        replace_section("archive month", "\n".join(text))


if __name__ == "__main__":
    main()
