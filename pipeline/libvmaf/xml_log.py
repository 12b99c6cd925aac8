"""Logs in XML. A document type is refused before anything of it is read, so no entity is ever expanded."""

from __future__ import annotations

from xml.parsers import expat

from pipeline.libvmaf.block import Block, Choose, LogError, block_of, number_of, value_of
from pipeline.libvmaf.problems import Problems


class XmlLog:
    """The attributes of each `<frame frameNum="…" …/>`."""

    def __init__(self, choose: Choose, problems: Problems) -> None:
        self.ended = False
        self._choose = choose
        self._problems = problems
        self._wanted: tuple[str, ...] | None = None
        self._numbers: list[int] = []
        self._rows: list[list[float]] = []
        self._last = -1
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = _refuse
        self._parser.EntityDeclHandler = _refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def feed(self, data: bytes) -> Block | None:
        """Return the frames that are complete with `data`; LogError where it is no XML from the start."""
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            if self._wanted is None:
                raise LogError(f"is not XML as libvmaf writes it: {error}") from None
            if not self.ended:
                self._problems.add("end", f"is not XML after frame {self._last} ({error}); expected </frames>", 0)
            self.ended = True
        return self._taken()

    def close(self) -> Block | None:
        """Return nothing: frames are given as they come."""
        if not self.ended:
            where = f"after frame {self._last}" if self._last >= 0 else "before its first frame"
            self._problems.add("end", f"ends {where}; expected </frames>", 0)
        return None

    def _taken(self) -> Block | None:
        block = block_of(self._wanted or (), self._numbers, self._rows)
        self._numbers, self._rows = [], []
        return block

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        if element != "frame" or self.ended:
            return
        if self._wanted is None:
            self._wanted = tuple(self._choose([name for name in attributes if name != "frameNum"]))
        self._last = number_of(attributes.get("frameNum", ""))
        self._numbers.append(self._last)
        self._rows.append([value_of(attributes.get(name, "")) for name in self._wanted])

    def _end(self, element: str) -> None:
        self.ended = self.ended or element == "frames"


def _refuse(*_: object) -> None:
    raise LogError("declares a document type or an entity, which libvmaf's logs do not: refused, nothing was expanded")
