"""What a log is of: its job, its source and how it was encoded, from the file's name and from options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.libvmaf.block import LogError

NUMBERS = ("crf", "target_bitrate_kbps", "achieved_bitrate_kbps", "frame_rate")
COUNTS = ("width", "height", "frame_count")
TEXTS = ("codec", "preset", "color_space", "content_category", "backend", "node_id", "tenant_id")
FIELDS = ("job_id", "source_id", *TEXTS, *NUMBERS, *COUNTS)
"""Fields of the wire that a name or an option may give."""

Detail = str | float

_FIELD = re.compile(r"\{(\w*)\}")


class Naming:
    """Reads a file's name by a pattern such as `{source_id}_{codec}_{crf}`, without the suffix.

    A pattern with slashes is compared with as many folders, too. Text is taken as long as possible, from the left.
    What `given` says counts for every log, and more than its name. Without a pattern the name is both job and source.
    Raises LogError where the pattern cannot be used.
    """

    def __init__(self, pattern: str = "", given: Mapping[str, Detail] | None = None) -> None:
        self._pattern = pattern
        self._expression = _expression(pattern) if pattern else None
        self._given = dict(given or {})

    def of(self, path: Path) -> dict[str, Detail]:
        """Return the fields of a log, `job_id` and `source_id` among them; LogError where the name is another."""
        found: dict[str, Detail] = {}
        if self._expression is not None:
            name = "/".join(path.absolute().with_suffix("").parts[-1 - self._pattern.count("/") :])
            match = self._expression.fullmatch(name)
            if match is None:
                raise LogError(f"is not named as expected: {self._pattern}, before the suffix")
            found = {field: _value(field, text) for field, text in match.groupdict().items()}
        default = {"job_id": path.stem, "source_id": path.stem}
        return default | found | self._given


def same_jobs(paths: Sequence[Path], naming: Naming) -> str:
    """Return the first job that two of the logs would have; empty where there is none."""
    jobs: set[Detail] = set()
    for path in paths:
        try:
            job = naming.of(path)["job_id"]
        except LogError:
            continue  # told when the log's turn comes
        if job in jobs:
            return str(job)
        jobs.add(job)
    return ""


def _expression(pattern: str) -> re.Pattern[str]:
    fields = _FIELD.findall(pattern)
    unknown = [field for field in fields if field not in FIELDS]
    if unknown or not fields or len(set(fields)) < len(fields):
        raise LogError(f"file name pattern {pattern!r}: expected, each at most once, {', '.join(FIELDS)} in braces")
    literals = _FIELD.split(pattern)
    parts = [re.escape(text) if place % 2 == 0 else _group(text) for place, text in enumerate(literals)]
    return re.compile("".join(parts))


def _group(field: str) -> str:
    kind = r"\d+(?:\.\d+)?" if field in NUMBERS else r"\d+" if field in COUNTS else r"[^/]+"
    return f"(?P<{field}>{kind})"


def _value(field: str, text: str) -> Detail:
    if field in COUNTS:
        return int(text)
    return float(text) if field in NUMBERS else text
