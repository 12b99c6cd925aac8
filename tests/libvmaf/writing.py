"""Writes real frames of the bundled corpus as the logs that they were measured from."""

import json
from pathlib import Path

from pipeline.corpus.table import FEATURES, Corpus


def write_logs(corpus: Corpus, directory: Path, target: str) -> list[Path]:
    """Write a log in JSON for each clip, named <source>__<clip>__<codec>; the score has the target's name."""
    directory.mkdir()
    paths = []
    for clip in dict.fromkeys(corpus.clip.tolist()):
        rows = corpus.rows(corpus.clip == clip)
        path = directory / f"{rows.source[0]}__{clip}__{rows.codec[0]}.json"
        scores = rows.target(target).tolist()
        frames = [
            {
                "frameNum": number,
                "metrics": {f"integer_{name}": value for name, value in zip(FEATURES, features, strict=True)}
                | {target: score},
            }
            for number, (features, score) in enumerate(zip(rows.features.tolist(), scores, strict=True))
        ]
        path.write_text(json.dumps({"version": "3.0.0", "fps": 25.0, "frames": frames}, indent=2))
        paths.append(path)
    return paths
