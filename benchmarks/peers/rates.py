"""What a machine can do at best, and what a call asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Work", "copy_rate", "count", "product_rate"]

_SIDE = 2048
_BYTES = 1 << 28
_TRIALS = 7


@dataclass(frozen=True)
class Work:
    """``operations``: multiplications and additions of products and convolutions. ``bytes``: read and written."""

    operations: int
    bytes: int


def _fastest(work: Callable[[], Any]) -> float:
    work()
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def product_rate() -> float:
    """Floating-point operations a second of a float32 matrix product, both matrices 2048 x 2048."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    out = torch.empty(_SIDE, _SIDE)
    return 2 * _SIDE**3 / _fastest(lambda: torch.mm(left, right, out=out))


def copy_rate() -> float:
    """Bytes a second, those read and those written, of a copy of 256 MiB."""
    source = torch.ones(_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _BYTES / _fastest(lambda: target.copy_(source))


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what operations read and write; views of a tensor are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        read, written = list(_tensors((args, kwargs))), list(_tensors(out))
        places = {tensor.untyped_storage().data_ptr() for tensor in read if type(tensor) is Tensor}
        is_view = all(type(t) is Tensor and t.untyped_storage().data_ptr() in places for t in written)
        if not is_view or func._schema.is_mutable:
            self.bytes += sum(tensor.nbytes for tensor in (*read, *written))
        return out


def _tensors(value: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def count(work: Callable[[], Any]) -> Work:
    """The work of a call: its operations' own figures, whatever stays in a cache between two of them."""
    with FlopCounterMode(display=False) as operations:
        work()
    with _Traffic() as traffic:
        work()
    return Work(int(operations.get_total_flops()), traffic.bytes)
