"""Batch norms folded into the convolutions before them.

In evaluation a batch norm multiplies and shifts each channel by constants, and so does nothing that the weights and
bias of the convolution before it could not do. Which convolution that is, is not guessed from names: the network runs
once while every call is watched, and a batch norm is folded only if all that it ever saw came straight from one
convolution, or from several side by side along the channels, whose outputs went nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["fold", "watch"]

Sources = tuple[nn.Conv2d, ...]

_CONVOLUTIONS = (torch.conv2d, torch.conv1d, torch.conv3d)


class _Watcher(TorchFunctionMode):
    """Notes which tensors convolutions make and who reads them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        modules = list(model.modules())
        self.convolutions = {id(m.weight): m for m in modules if type(m) is nn.Conv2d}
        self.norms = {
            id(m.running_mean): m for m in modules if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None
        }
        self.made: dict[int, tuple[Tensor, Sources]] = {}  # the tensor is held so that its id stays its own
        self.inputs: dict[nn.Module, set[Sources]] = {}  # of each norm: where its inputs came from
        self.readers: dict[nn.Conv2d, set[nn.Module | None]] = {}  # of each convolution: which norms read it

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if _is_query(func):
            return out
        if func is torch.cat and (joined := self._joined(*args, **(kwargs or {}))):
            self.made[id(out)] = (out, joined)
            return out
        norm = self._norm(func, args, kwargs or {})
        for tensor in _tensors((args, kwargs)):
            self.read(tensor, norm)
        if norm is not None:
            self.inputs.setdefault(norm, set()).add(self._sources(args[0]))
        if func in _CONVOLUTIONS and id(args[1]) in self.convolutions:
            self.made[id(out)] = (out, (self.convolutions[id(args[1])],))
        return out

    def read(self, tensor: Tensor, reader: nn.Module | None) -> None:
        """Note that ``reader``, a norm or anything else, reads ``tensor``."""
        for source in self._sources(tensor):
            self.readers.setdefault(source, set()).add(reader)

    def _sources(self, tensor: Tensor) -> Sources:
        """The convolutions that made ``tensor``, side by side; none if something else had a part in it."""
        return self.made[id(tensor)][1] if id(tensor) in self.made else ()

    def _joined(self, tensors: Sequence[Tensor], dim: int = 0) -> Sources:
        parts = [self._sources(tensor) for tensor in tensors]
        return tuple(source for part in parts for source in part) if dim in (1, -3) and all(parts) else ()

    def _norm(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module | None:
        if func is not F.batch_norm:
            return None
        mean = args[1] if len(args) > 1 else kwargs.get("running_mean")
        return self.norms.get(id(mean))


def _is_query(func: Callable[..., Any]) -> bool:
    """Whether ``func`` only reads what a tensor is (its shape, its device), not its values."""
    name = getattr(func, "__name__", "")
    return name in ("__get__", "size", "dim", "numel", "stride", "is_floating_point", "is_contiguous", "data_ptr")


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@torch.no_grad()
def watch(model: nn.Module, run: Callable[[Tensor], Any], sample: Tensor) -> dict[nn.Module, Sources]:
    """Run ``run(sample)`` once: which batch norm of ``model`` (in evaluation mode) may be folded into what.

    A norm's convolutions are in the order of its channels.
    """
    with _Watcher(model) as watcher:
        result = run(sample)
    for tensor in _tensors(result):  # what the network gives back is read by the caller
        watcher.read(tensor, None)
    pairs: dict[nn.Module, Sources] = {}
    for norm, inputs in watcher.inputs.items():
        (sources, *others) = inputs
        only = all(watcher.readers[source] == {norm} for source in sources)
        if sources and not others and only and len(set(sources)) == len(sources):
            pairs[norm] = sources
    return pairs


@torch.no_grad()
def fold(model: nn.Module, pairs: Mapping[nn.Module, Sources]) -> int:
    """Fold ``pairs`` in place and put an identity where the norm was; returns how many."""
    for norm, convolutions in pairs.items():
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
        widths = [convolution.out_channels for convolution in convolutions]
        for convolution, factor, offset in zip(convolutions, scale.split(widths), shift.split(widths), strict=True):
            weight = convolution.weight
            bias = convolution.bias.double() * factor + offset if convolution.bias is not None else offset
            convolution.weight = nn.Parameter((weight.double() * factor.view(-1, 1, 1, 1)).to(weight.dtype))
            convolution.bias = nn.Parameter(bias.to(weight.dtype))
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child in pairs:
                setattr(module, name, nn.Identity())
    return len(pairs)
