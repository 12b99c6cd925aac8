"""What makes Python wait for a device, and how to notice without having one.

The device `meta` has shapes and no numbers: whoever reads a number off it, or mixes its tensors with others, gets an
error. Uploads do not fail there; they are counted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "item")


class Looks(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves these out
    """Fails where a number is read off a tensor on `device`, or its shape depends on one; counts uploads."""

    def __init__(self, device: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = torch.device(device)
        self.uploads: list[int] = []
        self.blocking_uploads = 0
        self.operators = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Judge one operator, then run it."""
        del types
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        there = [tensor for tensor in args if isinstance(tensor, Tensor) and tensor.device == self._device]
        if there and name in READS:
            raise AssertionError(f"{name} waits for the device")
        result = func(*args, **kwargs)
        self.operators += bool(there)
        if isinstance(result, Tensor) and name in {"_to_copy", "copy_"}:
            source = args[1] if name == "copy_" else args[0]
            self._moved(source, result, bool(kwargs.get("non_blocking", len(args) > 2 and args[2])))
        return result

    def _moved(self, source: Tensor, result: Tensor, non_blocking: bool) -> None:
        if source.device == result.device:
            return
        if source.device == self._device:
            raise AssertionError("a tensor is brought off the device")
        self.uploads.append(source.numel() * source.element_size())
        self.blocking_uploads += not non_blocking


def looks_of(action: Callable[[], object], device: str = "meta") -> Looks:
    """Run `action`; return what it moved to `device`. Fails where it waits for it."""
    looks = Looks(device)
    with looks:
        action()
    return looks
