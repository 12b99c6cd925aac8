"""Which values of a graph say shapes, so that Python can read them without a look at the device."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnx import NodeProto

_READ_BY_PYTHON: dict[str, range] = {
    "ConstantOfShape": range(1),
    "Expand": range(1, 2),
    "Reshape": range(1, 2),
    "Slice": range(1, 5),
    "Squeeze": range(1, 2),
    "Unsqueeze": range(1, 2),
    **{f"Reduce{name}": range(1, 2) for name in ("Max", "Mean", "Min", "Prod", "Sum")},
}
"""By operator, which of its inputs say a shape."""


@dataclass(frozen=True)
class Wanted:
    """Names of the values that are wanted on the processor, and of those that are wanted on the device."""

    on_processor: set[str]
    on_device: set[str]

    def inputs(self, node: NodeProto) -> list[tuple[str, bool]]:
        """Return the inputs of a node, each with whether it says a shape."""
        if node.output[0] in self.on_processor and node.op_type != "Shape":
            return [(name, True) for name in node.input]
        shapes = _READ_BY_PYTHON.get(node.op_type, range(0))
        return [(name, place in shapes) for place, name in enumerate(node.input)]


def wanted(nodes: Sequence[NodeProto], constants: Collection[str]) -> Wanted:
    """Tell where each value of a graph is wanted.

    On the processor is what is read by Python, with all that it is computed from, as far as that follows from
    `constants` and from shapes alone.
    """
    known = _known(nodes, constants)
    found = Wanted(set(), set())
    for node in reversed(nodes):
        for name, shape in found.inputs(node):
            (found.on_processor if shape and name in known else found.on_device).add(name)
    return found


def _known(nodes: Sequence[NodeProto], constants: Collection[str]) -> set[str]:
    """Return the names of the values that follow from constants and shapes alone."""
    known = {"", *constants}
    for node in nodes:
        if node.op_type == "Shape" or (node.input and known.issuperset(node.input)):
            known.add(node.output[0])
    return known
