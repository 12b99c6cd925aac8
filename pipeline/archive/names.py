"""Where a sample lies: `tenant=…/date=YYYY-MM-DD/part-<ring>-<first>-<last>.parquet`, in UTC.

The name of a file says which samples of its directory are in it: those of a ring, from the first sequence to the last.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

NO_TENANT = "@none"
"""In the directory's name, for samples without a tenant. No tenant has it: an `@` of a name is quoted."""

_LONGEST_TENANT = 200
_FILE = re.compile(r"part-([0-9a-f]{16})-(\d{12,})-(\d{12,})\.parquet")
_DATE = re.compile(r"date=(\d{4}-\d\d-\d\d)")
PARTS = "tenant=*/date=*"


class Part(NamedTuple):
    """One file: which samples it holds, in sequences of `ring`, and its date."""

    path: Path
    date: str
    ring: int
    first: int
    last: int


def directory_of(tenant: str | None, arrival: float) -> str:
    """Return the directory of a sample, below the archive's; `arrival` is in Unix seconds."""
    return f"tenant={_tenant(tenant)}/date={date_of(arrival)}"


def date_of(arrival: float) -> str:
    """Return the day of a Unix time, in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(arrival))


def file_name(ring: int, first: int, last: int) -> str:
    """Return the name of the file with samples `first` to `last` of a ring."""
    return f"part-{ring:016x}-{first:012d}-{last:012d}.parquet"


def parts(root: Path, pattern: str = PARTS) -> Iterator[Part]:
    """Yield every file of the archive; other names are none of ours."""
    for directory in sorted(root.glob(pattern)):
        yield from parts_of(directory)


def parts_of(directory: Path) -> list[Part]:
    """Return the files of one tenant's day, in order of their names; none where there is no such directory."""
    date = _DATE.fullmatch(directory.name)
    if date is None or not directory.is_dir():
        return []
    found = ((_FILE.fullmatch(path.name), path) for path in sorted(directory.iterdir()))
    return [Part(path, date[1], int(m[1], 16), int(m[2]), int(m[3])) for m, path in found if m]


def _tenant(tenant: str | None) -> str:
    """Return a tenant as part of a path: quoted as URLs are; its digest where that is too long for a name."""
    if not tenant:
        return NO_TENANT
    quoted = quote(tenant, safe="")
    return quoted if len(quoted) <= _LONGEST_TENANT else f"@{hashlib.sha256(tenant.encode()).hexdigest()}"
