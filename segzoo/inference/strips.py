"""The large maps of a network, computed in strips of rows.

The first layers work on maps of hundreds of rows and many channels; each layer reads the last one's map from memory
and writes its own, and two or three of them stand at a time. A convolution, a pooling or an activation needs only the
rows around those that it gives, though. While :class:`Striping` is active such operations on large maps are noted,
not done. When something needs their values, the noted operations run together, strip after strip, each strip through
all of them while it is in the processor's cache; only maps that are still of use are written out. The sums are the
same; rows next to a strip's border are computed twice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from segzoo.allocator import give_back
from segzoo.inference.local import DROPOUTS, LOCAL, Local, Rows, Window
from segzoo.layers.deferred import Joined
from segzoo.layers.lazy import LazyMap, is_query, made

__all__ = ["Striped", "Striping", "striped"]

_LARGE = 16 << 20  # bytes of a map, from which on operations are noted
_LARGE_RUN = 30 << 20  # bytes of the maps that a run writes out, from which on freed memory is given back before it
_SMALL_RUN = 32 << 20  # bytes of the maps that a run does not write out, up to which it is not worth dividing
_STRIP = 4 << 20  # bytes of all maps of one strip
_POSITIONS = 1 << 10  # of a map that a strip has at least: for fewer, laying out a convolution's weights costs too much
_LEAST = 4  # a strip's rows are at least this many times those that are computed twice
_MOST_TWICE = 1 / 32  # of a map's rows; what would need more starts a new run


@dataclass(eq=False)
class _Node:
    """An operation that is noted.

    ``run(padded, *inputs)`` computes rows of the map; where ``padded``, its inputs have what lies above and below.
    """

    run: Callable[..., Tensor]
    inputs: tuple[_Node | Tensor, ...]
    window: Window
    shape: tuple[int, ...]
    bytes: int
    twice: float  # rows, at this map's size, that each border between two strips costs
    least: int  # rows that are worth a call of ``run``
    map: weakref.ref[Striped] | None = None  # who may still ask for all of it
    readers: weakref.WeakSet[_Node] = field(default_factory=weakref.WeakSet)
    dense: Tensor | None = None

    @property
    def height(self) -> int:
        return self.shape[2]


class Striped(LazyMap):
    """A map (N, C, H, W) of which it is noted how it is computed. Whatever reads its values makes them first."""

    node: _Node

    def __init__(self, like: Tensor, shape: Sequence[int], node: _Node) -> None:
        self.point_to(node)

    def point_to(self, node: _Node) -> None:
        """Stand for ``node`` from now on: what an operation in place comes to."""
        self.node = node
        node.map = weakref.ref(self)

    def dense(self) -> Tensor:
        """Its values."""
        if self.node.dense is None:
            with torch._C.DisableTorchFunction():
                _compute(self.node)
        assert self.node.dense is not None
        return self.node.dense


def striped(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` with its large maps computed in strips; the result is dense."""
    with Striping():
        out = function(x)
    values: Tensor = made(out, Striped)
    return values


class Striping(TorchFunctionMode):
    """While active, local operations on large maps are noted. Values that leave the context must be made dense."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: weakref.WeakSet[_Node] = weakref.WeakSet()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS and not kwargs.get("training", args[2] if len(args) > 2 else True):
            return args[0]
        if func is torch.conv2d and args and isinstance(args[0], Joined) and args[0].shape[1] != args[1].shape[1]:
            # In groups, nothing is gained by putting off its resizes; joined in strips it need not stand in full.
            parts = [made(part) for part in args[0].parts]
            args = (self.__torch_function__(torch.cat, (), (parts, 1)), *args[1:])
        read = LOCAL.get(func)
        local = None if read is None else read(*args, **kwargs)
        if local is not None and not (local.in_place and _is_dense(args[0])) and self._is_large(local):
            return self._note(local, args[0] if args else None)
        if is_query(func):
            return func(*args, **kwargs)
        if self.noted and args and _writes(func, args, kwargs):
            self._compute_readers(args[0])
        if func is torch.conv2d:
            self._compute_what_shrinks()
        return func(*made(args, Striped), **made(kwargs, Striped))

    def _is_large(self, local: Local) -> bool:
        maps = [x for x in local.inputs if x.ndim == 4 and x.shape[2] > 1]
        known = (Tensor, torch.nn.Parameter, Striped)  # other kinds have ways of their own
        if not maps or any(type(x) not in known for x in local.inputs):
            return False
        if any(not x.dtype.is_floating_point or x.device.type != "cpu" for x in maps):
            return False
        if local.window == Window() and not all(map(_is_dense, maps)):
            return True  # row by row, with the operations before it
        return max(_bytes(shape, maps[0].dtype.itemsize) for shape in (local.shape, *(x.shape for x in maps))) >= _LARGE

    def _note(self, local: Local, first: Any) -> Striped:
        inputs = [x.node if isinstance(x, Striped) else x for x in local.inputs]
        twice = _twice(local.window, inputs)
        if twice > _MOST_TWICE * local.shape[2]:
            inputs = [x.dense() if isinstance(x, Striped) else x for x in local.inputs]
            twice = _twice(local.window, inputs)
        like = next(x for x in local.inputs if x.ndim == 4 and x.shape[2] > 1)
        ready = tuple(x.dense if isinstance(x, _Node) and x.dense is not None else x for x in inputs)
        size = _bytes(local.shape, like.dtype.itemsize)
        node = _Node(local.run, ready, local.window, local.shape, size, twice, local.least)
        for x in ready:
            if isinstance(x, _Node):
                x.readers.add(node)
        self.noted.add(node)
        if local.in_place:
            assert isinstance(first, Striped)
            first.point_to(node)
            return first
        return Striped(like, local.shape, node)

    def _compute_what_shrinks(self) -> None:
        """Compute the maps at the end of what is noted that take half the memory, or less, of what they wait with."""
        for node in list(self.noted):
            by = node.map() if node.map is not None else None
            if (
                node.dense is not None
                or by is None
                or by.node is not node
                or any(r.dense is None for r in node.readers)
            ):
                continue
            read = {x.data_ptr(): x.nbytes for some in _needed(node) for x in some.inputs if isinstance(x, Tensor)}
            if sum(read.values()) >= 2 * node.bytes:
                with torch._C.DisableTorchFunction():
                    _compute(node)

    def _compute_readers(self, written: Any) -> None:
        """Compute what is noted to read ``written``, before that changes."""
        if isinstance(written, Striped):
            written = written.dense()
        if type(written) is not Tensor:
            return
        storage = written.untyped_storage().data_ptr()
        for node in list(self.noted):
            reads = (x if isinstance(x, Tensor) else x.dense for x in node.inputs)
            if node.dense is None and any(x is not None and x.untyped_storage().data_ptr() == storage for x in reads):
                with torch._C.DisableTorchFunction():
                    _compute(node)


def _is_dense(x: Any) -> bool:
    return not isinstance(x, Striped) or x.node.dense is not None


def _bytes(shape: Sequence[int], element: int) -> int:
    return element * shape[0] * shape[1] * shape[2] * shape[3]


def _twice(window: Window, inputs: Iterable[_Node | Tensor]) -> float:
    before = max((x.twice for x in inputs if isinstance(x, _Node) and x.dense is None), default=0.0)
    return (before + max(window.size - window.stride, 0)) / window.stride


def _writes(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether ``func`` may change its first argument."""
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name.startswith("__i") or name == "__setitem__"
    return name.endswith("_") or "out" in kwargs or any(x is True for x in (*args[1:], *kwargs.values()))


# What runs in strips


def _compute(target: _Node) -> None:
    """Give ``target``, and whatever it is computed from that is still of use, its values."""
    nodes = _needed(target)
    kept = [node for node in nodes if node is target or _is_of_use(node, nodes)]
    if sum(node.bytes for node in kept) >= _LARGE_RUN:
        give_back()  # the last run's strips lie between the maps that it left, and would stand beside the new maps
    count = -(-sum(node.bytes for node in nodes) // _STRIP)
    if sum(node.bytes for node in nodes if node not in kept) <= _SMALL_RUN:
        count = 1
    if target.twice:
        count = min(count, int(target.height / (_LEAST * target.twice)))
    for node in nodes:
        count = min(count, node.height // node.least, node.shape[0] * node.height * node.shape[3] // _POSITIONS)
    count = max(1, min(count, *(node.height for node in kept)))
    last = {x: node for node in nodes for x in node.inputs if isinstance(x, _Node)}
    whole: dict[_Node, Tensor] = {}
    for strip in range(count):
        parts = {node: (node.height * strip // count, node.height * (strip + 1) // count) for node in kept}
        rows = _rows(nodes, parts)
        strips: dict[_Node, Tensor] = {}
        for node in nodes:
            if node not in rows:
                continue
            strips[node] = _run(node, rows, strips, padded=count > 1)
            if node in kept:
                whole[node] = _written(strips[node], rows[node], node, whole.get(node))
            for x in node.inputs:
                if isinstance(x, _Node) and last[x] is node:
                    strips.pop(x, None)
    for node, values in whole.items():
        node.dense, node.inputs = values, ()


def _needed(target: _Node) -> list[_Node]:
    """What has to run for ``target``, in order."""
    found: dict[_Node, None] = {}
    waiting = [target]
    while waiting:
        before = [x for x in waiting[-1].inputs if isinstance(x, _Node) and x.dense is None and x not in found]
        if before:
            waiting += before
        else:
            found[waiting.pop()] = None
    return list(found)


def _is_of_use(node: _Node, running: list[_Node]) -> bool:
    """Whether the whole map may be asked for later."""
    by = node.map() if node.map is not None else None
    return (by is not None and by.node is node) or any(
        reader.dense is None and reader not in running for reader in node.readers
    )


def _rows(nodes: list[_Node], parts: dict[_Node, Rows]) -> dict[_Node, Rows]:
    """The rows of each map that a strip computes: its ``parts``, and what they are computed from."""
    rows = dict(parts)
    for node in reversed(nodes):
        if node not in rows:
            continue
        first, end = node.window.reads(rows[node])
        for x in node.inputs:
            if isinstance(x, _Node) and x.dense is None:
                known = rows.get(x, (x.height, 0))
                rows[x] = (min(known[0], max(first, 0)), max(known[1], min(end, x.height)))
    return rows


def _run(node: _Node, rows: dict[_Node, Rows], strips: dict[_Node, Tensor], *, padded: bool) -> Tensor:
    """The ``rows`` of ``node``."""
    first, end = node.window.reads(rows[node])
    taken = []
    for x in node.inputs:
        values = x if isinstance(x, Tensor) else strips[x] if x.dense is None else x.dense
        start, height = (rows[x][0], x.height) if isinstance(x, _Node) and x.dense is None else (0, values.shape[2])
        if padded and (height > 1 or node.height == 1):  # else it is one row that goes with all of them
            low, high = max(first, 0), min(end, height)
            values = values.narrow(2, low - start, high - low)
            if (low, high) != (first, end):
                values = F.pad(values, (0, 0, low - first, end - high), value=node.window.outside)
        taken.append(values)
    return node.run(padded, *taken)


def _written(values: Tensor, rows: Rows, node: _Node, whole: Tensor | None) -> Tensor:
    """``whole``, the map of ``node``, with ``values`` at ``rows``."""
    if rows == (0, node.height):
        return values
    if whole is None:
        channels_last = values.is_contiguous(memory_format=torch.channels_last) and not values.is_contiguous()
        layout = torch.channels_last if channels_last else torch.contiguous_format
        whole = torch.empty(node.shape, dtype=values.dtype, memory_format=layout)
    whole[:, :, rows[0] : rows[1]] = values
    return whole
