"""Which frames of a log can be used: numbered upwards, every value finite, the score from 0 to 100."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.libvmaf.block import Block
from pipeline.libvmaf.problems import Problems

ROUNDING = 1e-3
"""Points by which a score may be outside 0 to 100 and is taken for 0 or 100."""

Mask = npt.NDArray[np.bool_]


class Checks:
    """Checks the blocks of one log, in their order; `score` names the column of the score, if there is one."""

    def __init__(self, score: str | None, problems: Problems) -> None:
        self._score = score
        self._problems = problems
        self._last = -1

    def passed(self, block: Block) -> Block:
        """Return the frames that can be used, with scores that are just outside 0 to 100 brought inside."""
        block = self._rising(block)
        for name in block.columns:
            block = self._finite(block, name)
        return self._within(block, self._score) if self._score else block

    def _rising(self, block: Block) -> Block:
        before = np.maximum.accumulate(np.concatenate(([self._last], block.numbers)))
        self._last = int(before[-1])
        return self._kept(
            block,
            block.numbers > before[:-1],
            "order",
            lambda i: f"{_named(int(block.numbers[i]))} comes after {_named(int(before[i]))}; expected rising numbers",
        )

    def _finite(self, block: Block, name: str) -> Block:
        values = block.columns[name]
        with np.errstate(over="ignore"):
            good = np.isfinite(values.astype(np.float32))
        return self._kept(
            block,
            good,
            f"finite {name}",
            lambda i: f"frame {block.numbers[i]}: {name} {_unusable(values[i])}, expected a finite number",
        )

    def _within(self, block: Block, name: str) -> Block:
        values = block.columns[name]
        good = (values >= -ROUNDING) & (values <= 100 + ROUNDING)
        kept = self._kept(
            block,
            good,
            "range",
            lambda i: f"frame {block.numbers[i]}: {name} is {values[i]:.6g}, expected 0 to 100",
        )
        return Block(kept.numbers, {**kept.columns, name: np.clip(kept.columns[name], 0, 100)})

    def _kept(self, block: Block, good: Mask, kind: str, detail: Callable[[int], str]) -> Block:
        if good.all():
            return block
        bad = np.flatnonzero(~good)
        self._problems.add(kind, detail(int(bad[0])), len(bad))
        return block.rows(good)


def _named(number: int) -> str:
    return f"frame {number}" if number >= 0 else "a frame without a number"


def _unusable(value: float) -> str:
    return "is missing or not a number" if np.isnan(value) else f"is {value}"
