"""Score many pairs, several at a time, each once: a run that was stopped goes on where it was."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet

from pipeline.corpus import ffmpeg
from pipeline.corpus.pairs import PRESETS, Limits, Pair, Rung
from pipeline.corpus.score import MODELS, Scored, score
from pipeline.corpus.table import FEATURES, CorpusError
from pipeline.runtime.durable import write_durably


def score_all(
    pairs: Sequence[Pair], limits: Limits, cache: Path, jobs: int, on_pair: Callable[[Pair], None]
) -> list[Scored]:
    """Return what was measured of each pair, from the cache where it is there; `on_pair` is told of each.

    The first failure ends the run with a CorpusError that names the pair; what is scored stays in the cache.
    """
    build = ffmpeg.version(ffmpeg.find_ffmpeg())
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_cached, pair, limits, build, cache): pair for pair in pairs}
        try:
            for done in as_completed(running):
                done.result()
                on_pair(running[done])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [done.result() for done in running]


def write_parquet(path: Path, pairs: Sequence[Pair], scored: Sequence[Scored]) -> int:
    """Write all frames as one table, durably; return how many there are."""
    tables = [_table(i, pair, each) for i, (pair, each) in enumerate(zip(pairs, scored, strict=True))]
    table = pa.concat_tables(tables)
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    write_durably(path, sink.getvalue().to_pybytes())
    rows: int = table.num_rows
    return rows


def key_of(pair: Pair, limits: Limits, build: str) -> str:
    """Return what tells this pair's scores, by this build of ffmpeg, from any other."""
    distorted = pair.distorted if isinstance(pair.distorted, Rung) else pair.distorted.identity
    plain = {name: getattr(limits, name) for name in ("frames", "height", "yuv_size")}
    told: list[Any] = [pair.reference.identity, pair.reference.filter, distorted, plain, build, MODELS]
    told += [limits.measure] if limits.measure else []
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def _cached(pair: Pair, limits: Limits, build: str, cache: Path) -> Scored:
    key = key_of(pair, limits, build)
    path = cache / pair.source / f"{pair.label}-{key}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scored)
    except (OSError, msgspec.DecodeError):
        path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vmafx-corpus-") as scratch:
        try:
            scored = score(pair, limits, Path(scratch))
        except CorpusError as error:
            raise CorpusError(f"{pair.source}, {pair.label}: {error}") from error
    write_durably(path, msgspec.json.encode(scored))
    return scored


def _table(clip: int, pair: Pair, scored: Scored) -> pa.Table:
    n = len(scored.columns[FEATURES[0]])
    rung = pair.distorted if isinstance(pair.distorted, Rung) else Rung("unknown", -1)
    constants = {
        "clip_id": pa.array([clip] * n, pa.int32()),
        "source": pa.array([pair.source] * n),
        "codec": pa.array([rung.codec] * n),
        "crf": pa.array([rung.crf] * n, pa.int16()),
        "preset": pa.array([PRESETS.get(rung.codec, "")] * n),
        "width": pa.array([scored.width] * n, pa.int16()),
        "height": pa.array([scored.height] * n, pa.int16()),
        "bytes": pa.array([scored.bytes] * n, pa.int64()),
        "frame": pa.array(range(n), pa.int32()),
    }
    return pa.table(constants | {name: pa.array(values, pa.float32()) for name, values in scored.columns.items()})


def default_jobs() -> int:
    """Return how many processors there are for this process."""
    return len(os.sched_getaffinity(0))
