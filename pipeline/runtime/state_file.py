"""Saved state: a file of named sections that is there whole or not at all, and is parsed, never unpickled.

    magic 8 bytes | header length u32 | header, JSON | sections in turn | SHA-256 of all before it, 32 bytes

The header holds the caller's `meta` and, for each section, its name, length, and, for an array, dtype and shape.
Integers are little-endian. Files are numbered; the two newest are kept, so that a broken one has one before it. What
was set aside keeps its number, which is not given again. Only regular files count.
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

from pipeline.runtime.durable import write_durably

MAGIC = b"VMAFXST1"
KEPT = 2
SET_ASIDE = ".broken"

TEMPORARY = ".state-*.tmp"
"""What a writer that was killed leaves behind."""

_LENGTH = struct.Struct("<I")
_START = len(MAGIC) + _LENGTH.size
_DIGEST_BYTES = 32
_FILE = re.compile(r"state-(\d{9}|[1-9]\d{9,})\.bin")
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
    """A state file that is not used, and why: it is broken, or it could not be read, which may pass."""

    path: Path
    reason: str
    is_broken: bool = True


def write(
    directory: Path,
    meta: Mapping[str, Any],
    sections: Mapping[str, Section],
    keeps: Callable[[dict[str, Any]], bool] = lambda _meta: False,
) -> tuple[Path, list[Path]]:
    """Write a new state file, durably, and remove all but the newest two; return its path, and what was set aside.

    Of the files that have to go, those whose meta `keeps` says yes to are set aside, and so is one that cannot be read
    now. `meta` holds JSON types; arrays have a numeric dtype. The caller is the directory's only writer. Raises OSError
    when the disk refuses: the files before it are then as they were.
    """
    for leftover in filter(_is_regular, directory.glob(TEMPORARY)):
        leftover.unlink(missing_ok=True)
    numbers = _numbered(directory)
    path = directory / f"state-{_highest(directory) + 1:09d}.bin"
    write_durably(path, *encoded(meta, sections), mode=0o600)
    aside: list[Path] = []
    for old in sorted(numbers)[: 1 - KEPT or None]:
        if _is_kept(numbers[old], keeps):
            aside.append(set_aside(numbers[old]))
        else:
            numbers[old].unlink(missing_ok=True)
    return path, aside


def encoded(meta: Mapping[str, Any], sections: Mapping[str, Section]) -> list[bytes | memoryview]:
    """Return a state file's bytes, in parts."""
    arrays = {name: _plain(section) for name, section in sections.items()}
    items = [_describe(name, sections[name], array) for name, array in arrays.items()]
    header = msgspec.json.encode(_Header(dict(meta), items))
    parts: list[bytes | memoryview] = [MAGIC, _LENGTH.pack(len(header)), header, *map(_bytes_of, arrays.values())]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return [*parts, digest.digest()]


def newest(directory: Path, parse: Callable[[Saved], T]) -> tuple[T | None, list[Rejected]]:
    """Return what `parse` makes of the newest state that is whole, and the newer files that are not used.

    `parse` refuses a state by raising StateFileError: it is broken. A file that could not be read may be whole: whoever
    needs the newest state asks again. Changes nothing on disk.
    """
    numbers = _numbered(directory)
    rejected: list[Rejected] = []
    for number in sorted(numbers, reverse=True):
        try:
            return parse(read(numbers[number])), rejected
        except StateFileError as error:
            rejected.append(Rejected(numbers[number], str(error)))
        except FileNotFoundError:
            continue  # its writer has replaced it meanwhile
        except OSError as error:
            rejected.append(Rejected(numbers[number], str(error), is_broken=False))
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
    if data[: len(MAGIC)] != MAGIC:
        raise StateFileError(f"{path}: not a state file of this version")
    if len(data) < _START + _DIGEST_BYTES or hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise StateFileError(f"{path}: its digest is wrong: cut short or changed")
    end = _START + _LENGTH.unpack_from(data, len(MAGIC))[0]
    try:
        header = msgspec.json.decode(data[_START:end], type=_Header)
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
    return {int(match[1]): path for match, path in found if match and _is_regular(path)}


def _highest(directory: Path) -> int:
    """Return the highest number that any name has, that of a file set aside or of no file at all included."""
    found = (_FILE.fullmatch(path.name.removesuffix(SET_ASIDE)) for path in directory.iterdir())
    return max((int(match[1]) for match in found if match), default=0)


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_kept(path: Path, keeps: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether an old file is worth more than its age; its header alone is read."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
            header = file.read(_LENGTH.unpack_from(start, len(MAGIC))[0])
        return keeps(msgspec.json.decode(header, type=_Header).meta)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError):
        return False


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
        raise StateFileError(f"{path}: its sections do not add up to its size")
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
