"""What a computation makes on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Largest(TorchDispatchMode):
    def __init__(self, given: set[int]) -> None:
        super().__init__()
        self.given = given
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in self.given:
                self.numbers = max(self.numbers, leaf.untyped_storage().nbytes() // leaf.element_size())
        return out


def largest_tensor(compute: Callable[..., Tensor], *arguments: Any) -> int:
    """Numbers in the largest tensor that ``compute`` makes; views of its arguments take no memory and do not count."""
    given = {leaf.untyped_storage().data_ptr() for leaf in arguments if isinstance(leaf, Tensor)}
    with _Largest(given) as recorder:
        compute(*arguments)
    return recorder.numbers
