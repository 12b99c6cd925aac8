"""Logs in CSV: a heading that begins with `Frame`, and a line a frame. A log in CSV does not say where it ends."""

from __future__ import annotations

from pipeline.libvmaf.block import Block, Choose, LogError, block_of, number_of, value_of
from pipeline.libvmaf.problems import Problems


class CsvLog:
    """Lines of comma-separated values, of which those that are wanted are read."""

    def __init__(self, choose: Choose, problems: Problems) -> None:
        self.ended = False
        self._choose = choose
        self._problems = problems
        self._rest = b""
        self._line = 0
        self._width = 0
        self._wanted: tuple[str, ...] = ()
        self._places: list[int] = []

    def feed(self, data: bytes) -> Block | None:
        """Return the frames of the lines that are complete with `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        numbers: list[int] = []
        rows: list[list[float]] = []
        for line in lines:
            self._line += 1
            cells = line.rstrip().split(b",")
            if not self._width:
                self._read_heading(cells)
            elif len(cells) == self._width:
                numbers.append(number_of(cells[0]))
                rows.append([value_of(cells[place]) for place in self._places])
            elif cells != [b""]:
                self._problems.add(
                    "width", f"line {self._line} has {len(cells)} values, the heading {self._width} names"
                )
        return block_of(self._wanted, numbers, rows)

    def close(self) -> Block | None:
        """Return nothing: a last line without a newline may have lost the end of its last number."""
        if self._rest.strip():
            self._problems.add("end", f"ends in the middle of line {self._line + 1}; expected a newline at its end")
        return None

    def _read_heading(self, cells: list[bytes]) -> None:
        try:
            names = [cell.decode().strip() for cell in cells]
        except UnicodeDecodeError:
            raise LogError("has a heading that is not UTF-8; expected Frame,… as libvmaf writes it") from None
        self._wanted = tuple(self._choose([name for name in names[1:] if name]))
        self._places = [names.index(name, 1) for name in self._wanted]
        self._width = len(cells)
