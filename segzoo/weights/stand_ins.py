"""What stands in for the few foreign classes that published weight files are known to hold.

A weight file is a pickle, and a pickle names functions to call. The names below get these inert classes, which store
what they are given and compute nothing; torch's own ``weights_only`` list covers tensors and containers; every other
name refuses the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

__all__ = ["STAND_INS", "plain"]

# numpy's kinds and sizes as struct sees them; object, text and record arrays are not decoded.
_FORMATS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip


class Dtype:
    """numpy.dtype: the name, and the byte order from its state."""

    def __init__(self, name: Any = "", align: Any = False, copy: Any = True) -> None:
        self.name = name.decode() if isinstance(name, bytes) else str(name)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">"):
            self.order = ">"

    def values(self, data: Any) -> list[Any] | None:
        """The numbers in ``data``; None where this is not a plain numeric type or the length does not fit."""
        code = _FORMATS.get(self.name.lstrip("<>|="))
        if code is None or not isinstance(data, bytes) or len(data) % struct.calcsize("=" + code):
            return None
        return list(struct.unpack(f"{self.order}{len(data) // struct.calcsize('=' + code)}{code}", data))


class Array:
    """numpy.ndarray: its shape and values; ``shape`` and ``items`` are None until its state is known."""

    def __init__(self, *arguments: Any) -> None:
        self.shape: tuple[int, ...] | None = None
        self.items: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], Dtype):
            self.shape = tuple(state[1]) if isinstance(state[1], tuple) else None
            self.items = state[2].values(state[4])


class History:
    """mmengine.logging.HistoryBuffer: the numbers of a training log; its own attributes are kept unread."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Method:
    """A method of a stand-in, by name only: HistoryBuffer keeps its statistics so."""

    def __init__(self, owner: Any, name: Any) -> None:
        if owner is not History:
            raise ValueError("builtins.getattr is refused but for the methods of HistoryBuffer")
        self.name = str(name)


class Scalar:
    """numpy.core.multiarray.scalar: one number."""

    def __init__(self, dtype: Any = None, data: Any = None) -> None:
        values = dtype.values(data) if isinstance(dtype, Dtype) else None
        self.value = values[0] if values else None


STAND_INS: tuple[tuple[Callable[..., Any], str], ...] = (
    (History, "mmengine.logging.history_buffer.HistoryBuffer"),
    (Method, "builtins.getattr"),
    (Array, "numpy.ndarray"),
    (Array, "numpy.core.multiarray._reconstruct"),
    (Array, "numpy._core.multiarray._reconstruct"),
    (Scalar, "numpy.core.multiarray.scalar"),
    (Scalar, "numpy._core.multiarray.scalar"),
    (Dtype, "numpy.dtype"),
    *(
        (Dtype, f"numpy.dtypes.{kind}DType")
        for kind in ("Bool", "Float16", "Float32", "Float64", "Int32", "Int64", "UInt8")
    ),
)


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` as what JSON can hold: numbers, texts, lists, dicts; None in place of all else, and below 40 levels."""
    if depth > 40:
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, Array):
        return value.items
    return None
