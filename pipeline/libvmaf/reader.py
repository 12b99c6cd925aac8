"""Reads a log in whichever format it has, in blocks: as much memory for two hours of video as for a second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.libvmaf.block import Block, Choose, LogError, Parser
from pipeline.libvmaf.csv_log import CsvLog
from pipeline.libvmaf.json_log import JsonLog
from pipeline.libvmaf.problems import Problems
from pipeline.libvmaf.xml_log import XmlLog

_PIECE = 1 << 18
_BARREN = 1 << 24
"""Bytes without a frame after which a file is not taken for a log."""

_HEAD = 8
"""Bytes that tell the format."""
_BLANK = b"\xef\xbb\xbf \t\r\n"
_SUB = re.compile(rb"\{\d+\}")


class LogReader:
    """Reads a log from where it has come to up to its end, which may grow.

    `choose` is called once, with the names of the columns. What is wrong with single frames goes to `problems`.
    """

    def __init__(self, path: Path, choose: Choose, problems: Problems) -> None:
        self._path = path
        self._choose = choose
        self._problems = problems
        self._parser: Parser | None = None
        self._head = b""
        self._offset = 0
        self._barren = 0
        self._frames = 0

    @property
    def ended(self) -> bool:
        """Whether the log says that no frame follows; one in CSV never does."""
        return self._parser is not None and self._parser.ended

    def blocks(self) -> Iterator[Block]:
        """Yield the frames that have come since the last call; LogError, OSError where they cannot be read."""
        with self._path.open("rb") as file:
            if self._offset:
                file.seek(self._offset)
            while not self.ended and (data := file.read(_PIECE)):
                self._offset += len(data)
                yield from self._given(self._feed(data))
                self._watch_for_frames(len(data))

    def close(self) -> Iterator[Block]:
        """Yield what is left when the file does not grow any more; LogError where it holds no frame."""
        if self._parser is None and self._head.strip(_BLANK):
            yield from self._given(self._feed(b"", whole=True))
        if self._parser is None:
            raise LogError("is empty; expected a log of libvmaf in JSON, XML or CSV")
        yield from self._given(self._parser.close())
        if not self._frames and not self._problems:
            raise LogError("has no frame")

    def _feed(self, data: bytes, *, whole: bool = False) -> Block | None:
        if self._parser is not None:
            return self._parser.feed(data)
        self._head = (self._head + data).lstrip(_BLANK)
        if len(self._head) < _HEAD and not whole:
            return None
        head, self._head = self._head, b""
        self._parser = _parser_for(head)(self._choose, self._problems)
        return self._parser.feed(head)

    def _given(self, block: Block | None) -> Iterator[Block]:
        if block is not None:
            self._frames += len(block)
            self._barren = 0
            yield block

    def _watch_for_frames(self, length: int) -> None:
        self._barren += length
        if self._barren > _BARREN:
            raise LogError(f"has no frame in {_BARREN >> 20} MiB; expected a log of libvmaf in JSON, XML or CSV")


def _parser_for(head: bytes) -> type[JsonLog] | type[XmlLog] | type[CsvLog]:
    if _SUB.match(head):
        raise LogError("is a subtitle (log_fmt=sub); expected a log in JSON, XML or CSV")
    if head.startswith(b"{"):
        return JsonLog
    if head.startswith(b"<"):
        return XmlLog
    if head[:6].lower() == b"frame,":
        return CsvLog
    raise LogError(f"begins with {head[:16]!r}; expected a log of libvmaf in JSON, XML or CSV")
