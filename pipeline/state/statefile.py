"""Saved state: a file of named sections that is there whole or not at all, and is parsed, never unpickled.

    magic 8 bytes | header length u32 | header, JSON | sections in turn | SHA-256 of all before it, 32 bytes

The header holds the caller's `meta` and, for each section, its name, length, and, for an array, dtype and shape.
Integers are little-endian. Files are numbered; the two newest are kept, so that a broken one has one before it.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.durable import write_durably

MAGIC = b"VMAFXST1"
KEPT = 2
SET_ASIDE = ".broken"

_LENGTH = struct.Struct("<I")
_DIGEST_BYTES = 32
_FILE = re.compile(r"state-(\d{9})\.bin")
_DTYPES = frozenset({"<f4", "<f8", "<i4", "<i8", "<u4", "<u8", "|u1", "|i1", "|b1"})

T = TypeVar("T")
_Size = Annotated[int, msgspec.Meta(ge=0)]
Section = bytes | npt.NDArray[Any]


class StateFileError(Exception):
    """A file that does not hold a state; the message says why."""


class _Item(msgspec.Struct, frozen=True):
    """One section in the header; `dtype` is empty for bytes."""

    name: str
    size: _Size
    dtype: str = ""
    shape: tuple[_Size, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    meta: dict[str, Any]
    items: list[_Item]


@dataclass(frozen=True, slots=True)
class Saved:
    """A state as it was read: `meta` of JSON types, and the sections by name; arrays are read-only."""

    path: Path
    meta: dict[str, Any]
    sections: dict[str, Section]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A state file that cannot be used, and why."""

    path: Path
    reason: str


def write(directory: Path, meta: Mapping[str, Any], sections: Mapping[str, Section]) -> Path:
    """Write a new state file, durably, and remove all but the newest two; return its path.

    `meta` holds JSON types; arrays have a numeric dtype. Raises OSError when the disk refuses: the files before it
    are then as they were.
    """
    numbers = _numbered(directory)
    path = directory / f"state-{max(numbers, default=0) + 1:09d}.bin"
    arrays = {name: _plain(section) for name, section in sections.items()}
    items = [_describe(name, sections[name], array) for name, array in arrays.items()]
    header = msgspec.json.encode(_Header(dict(meta), items))
    parts: list[bytes | memoryview] = [MAGIC, _LENGTH.pack(len(header)), header, *map(_bytes_of, arrays.values())]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    write_durably(path, *parts, digest.digest(), mode=0o600)
    for old in sorted(numbers)[: 1 - KEPT or None]:
        numbers[old].unlink(missing_ok=True)
    return path


def newest(directory: Path, parse: Callable[[Saved], T]) -> tuple[T | None, list[Rejected]]:
    """Return what `parse` makes of the newest state that is whole, and the newer files that cannot be used.

    `parse` refuses a state by raising StateFileError. Changes nothing on disk.
    """
    numbers = _numbered(directory)
    rejected: list[Rejected] = []
    for number in sorted(numbers, reverse=True):
        try:
            return parse(read(numbers[number])), rejected
        except (StateFileError, OSError) as error:
            rejected.append(Rejected(numbers[number], str(error)))
    return None, rejected


def set_aside(path: Path) -> Path:
    """Rename a state file so that it is not read again, and keep the newest two of these; return its new path."""
    aside = path.replace(path.with_name(path.name + SET_ASIDE))
    for old in sorted(path.parent.glob(f"state-*{SET_ASIDE}"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return aside


def read(path: Path) -> Saved:
    """Read one state file. Raises StateFileError where it is not a whole one, OSError where it cannot be read."""
    data = memoryview(path.read_bytes())
    start = len(MAGIC) + _LENGTH.size
    if data[: len(MAGIC)] != MAGIC:
        raise StateFileError(f"{path}: not a state file of this version")
    if len(data) < start + _DIGEST_BYTES or hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise StateFileError(f"{path}: its digest is wrong: cut short or changed")
    end = start + _LENGTH.unpack_from(data, len(MAGIC))[0]
    try:
        header = msgspec.json.decode(data[start:end], type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateFileError(f"{path}: {error}") from None
    return Saved(path, header.meta, _sections(data[end:-_DIGEST_BYTES], header.items, path))


def files(directory: Path) -> list[Path]:
    """Return the state files of a directory, oldest first."""
    return [path for _, path in sorted(_numbered(directory).items())]


def _numbered(directory: Path) -> dict[int, Path]:
    if not directory.is_dir():
        return {}
    found = ((_FILE.fullmatch(path.name), path) for path in directory.iterdir())
    return {int(match[1]): path for match, path in found if match}


def _plain(section: Section) -> npt.NDArray[Any]:
    array = np.frombuffer(section, np.uint8) if isinstance(section, bytes) else np.ascontiguousarray(section)
    if array.dtype.str not in _DTYPES:
        raise ValueError(f"an array of dtype {array.dtype} cannot be saved")
    return array


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _describe(name: str, section: Section, array: npt.NDArray[Any]) -> _Item:
    return _Item(name, array.nbytes, "" if isinstance(section, bytes) else array.dtype.str, array.shape)


def _sections(body: memoryview, items: list[_Item], path: Path) -> dict[str, Section]:
    if sum(item.size for item in items) != len(body):
        raise StateFileError(f"{path}: its sections do not fill it")
    sections: dict[str, Section] = {}
    end = 0
    for item in items:
        start, end = end, end + item.size
        sections[item.name] = _section(body[start:end], item, path)
    return sections


def _section(body: memoryview, item: _Item, path: Path) -> Section:
    if not item.dtype:
        return bytes(body)
    if item.dtype not in _DTYPES or math.prod(item.shape) * np.dtype(item.dtype).itemsize != len(body):
        raise StateFileError(
            f"{path}: section {item.name!r} is {item.dtype} of shape {item.shape} in {item.size} bytes"
        )
    return np.frombuffer(body, item.dtype).reshape(item.shape)
