"""Maps that are known but not computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

__all__ = ["LazyMap", "both", "is_query", "keeps_size", "made"]


class LazyMap(Tensor):
    """A map (N, C, H, W) that has a shape, a type and a device, but no values yet: whatever reads it makes them."""

    @staticmethod
    def __new__(cls, like: Tensor, shape: Sequence[int], *args: Any) -> Any:
        return Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=like.dtype, device=like.device)

    def dense(self) -> Tensor:
        """The values; the first call computes them."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if is_query(func):
            return super().__torch_function__(func, types, args, kwargs or {})
        return func(*made(args), **made(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it as an instance's method
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*made(args), **made(kwargs or {}))


def is_query(func: Callable[..., Any]) -> bool:
    """Whether ``func`` asks a lazy map for what is known of it."""
    name = getattr(func, "__name__", "")
    return name in ("__get__", "size", "dim", "numel", "is_floating_point", "is_contiguous")


def made(value: Any, kind: type[LazyMap] = LazyMap) -> Any:
    """``value`` with the values of every lazy map of ``kind`` in it."""
    if isinstance(value, kind):
        return value.dense()
    if isinstance(value, (list, tuple)):
        return type(value)(made(item, kind) for item in value)
    if isinstance(value, dict):
        return {key: made(item, kind) for key, item in value.items()}
    return value


def both(value: Any) -> tuple[int, int]:
    """A convolution's argument along rows and along columns, of one number for both or a sequence."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def keeps_size(kernel: Sequence[int], padding: Any, dilation: Any) -> bool:
    """Whether a convolution of stride 1 gives a map of its input's size, and takes as much from either side."""
    return not isinstance(padding, str) and all(
        2 * p == d * (k - 1) for p, d, k in zip(both(padding), both(dilation), kernel, strict=True)
    )
