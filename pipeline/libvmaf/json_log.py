"""Logs in JSON. Frames are decoded many at a time, and of each only the columns that are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from pipeline.libvmaf.block import LARGEST_NUMBER, Block, Choose, block_of
from pipeline.libvmaf.problems import Problems

_FRAMES = re.compile(rb'"frames"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
_NOT_JSON = re.compile(rb"(:\s*)[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_SPACE = 64
"""Bytes of white space, at most, that are looked through for a comma between two frames."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_NUMBER)]
_Value = float | None
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Frame(msgspec.Struct, rename={"number": "frameNum"}):
    number: _Number
    metrics: dict[str, _Value]


_first_frame = msgspec.json.Decoder(_Frame).decode


class JsonLog:
    """Frames between `"frames": [` and the bracket that closes it; what is before and after is not looked at."""

    def __init__(self, choose: Choose, problems: Problems) -> None:
        self.ended = False
        self._choose = choose
        self._problems = problems
        self._rest = b""
        self._inside = False
        self._wanted: tuple[str, ...] = ()
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._last = -1

    def feed(self, data: bytes) -> Block | None:
        """Return the frames that are complete with `data`."""
        self._rest += data
        if not self._inside:
            found = _FRAMES.search(self._rest)
            if found is None:
                return None
            self._inside, self._rest = True, self._rest[found.end() :]
        end = self._rest.find(b"]")
        self.ended = end >= 0
        cut = end if self.ended else _last_start(self._rest)
        text, self._rest = self._rest[:cut], self._rest[cut:]
        return self._block(text)

    def close(self) -> Block | None:
        """Return the last frame where it is whole."""
        if self.ended:
            return None
        text, self._rest = self._rest, b""
        if not self._inside:
            self._problems.add("end", 'ends before its first frame; expected "frames": […] as libvmaf writes it', 0)
            return None
        try:
            block = self._decode(text)
        except _UNREADABLE:
            self._problems.add("end", f"ends in the middle of a frame, {self._where()}; expected the end of the log")
            return None
        self._problems.add("end", f"ends {self._where()}; expected the end of the log", 0)
        return block

    def _block(self, text: bytes) -> Block | None:
        try:
            return self._decode(text)
        except _UNREADABLE:
            blocks = [self._one(piece) for piece in _pieces(text)]
            return _joined([block for block in blocks if block is not None])

    def _one(self, piece: bytes) -> Block | None:
        try:
            return self._decode(piece)
        except _UNREADABLE as error:
            self._problems.add("unreadable", f'{self._where()}: expected {{"frameNum": …, "metrics": {{…}}}} ({error})')
            return None

    def _where(self) -> str:
        return f"after frame {self._last}" if self._last >= 0 else "before any other frame"

    def _decode(self, text: bytes) -> Block | None:
        text = text.strip().removesuffix(b",")
        if not text:
            return None
        if b"n" in text:
            text = _NOT_JSON.sub(rb"\1null", text)
        if self._decoder is None:
            self._prepare(tuple(_first_frame(next(_pieces(text))).metrics))
        assert self._decoder is not None
        frames = self._decoder.decode(b"[" + text + b"]")
        self._last = frames[-1].number
        values = [msgspec.structs.astuple(frame.metrics) for frame in frames]
        return block_of(self._wanted, [frame.number for frame in frames], values)

    def _prepare(self, names: Sequence[str]) -> None:
        """Decide on the columns, and make a decoder that passes over the others."""
        self._wanted = tuple(self._choose(names))
        places = [f"c{place}" for place in range(len(self._wanted))]
        metrics = msgspec.defstruct(
            "Metrics",
            [(place, _Value, None) for place in places],
            rename=dict(zip(places, self._wanted, strict=True)),
            gc=False,
        )
        fields = [("number", _Number), ("metrics", metrics)]
        frame = msgspec.defstruct("Frame", fields, rename={"number": "frameNum"}, gc=False)
        self._decoder = msgspec.json.Decoder(list[frame])  # type: ignore[valid-type]


def _last_start(text: bytes) -> int:
    """Return where the last frame begins that has another one before it; 0 where there is none."""
    at = len(text)
    while (at := text.rfind(b"{", 0, at)) > 0:
        if text[max(0, at - _SPACE) : at].rstrip().endswith(b","):
            return at
    return 0


def _pieces(text: bytes) -> Iterator[bytes]:
    start = 0
    for between in _BETWEEN.finditer(text):
        yield text[start : between.start() + 1]
        start = between.end()
    yield text[start:]


def _joined(blocks: Sequence[Block]) -> Block | None:
    if not blocks:
        return None
    names = list(blocks[0].columns)
    rows = [[float(block.columns[name][0]) for name in names] for block in blocks]
    return block_of(names, [int(block.numbers[0]) for block in blocks], rows)
