"""Batch norms folded into the convolutions before them.

In evaluation a batch norm multiplies and shifts each channel by constants, and so does nothing that the weights and
bias of the convolution before it could not do. Which convolution that is, is not guessed from names: the network runs
once while every call is watched, and a batch norm is folded only if all that it ever saw came straight from one
convolution, whose output went nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Trace", "fold", "watch"]

_CONVOLUTIONS = (torch.conv2d, torch.conv1d, torch.conv3d)


@dataclass
class Trace:
    """What a run of a network showed.

    ``pairs``: batch norm -> the convolution to fold it into. ``convolution_share``: of all multiplications in
    convolutions, linear layers and matrix products, the share in convolutions.
    """

    pairs: dict[nn.Module, nn.Conv2d] = field(default_factory=dict)
    convolution_share: float = 0.0


class _Watcher(TorchFunctionMode):
    """Notes which tensors convolutions make and who reads them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        modules = list(model.modules())
        self.convolutions = {id(m.weight): m for m in modules if type(m) is nn.Conv2d}
        self.norms = {
            id(m.running_mean): m for m in modules if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None
        }
        self.made: dict[int, tuple[Tensor, nn.Conv2d]] = {}  # the tensor is held so that its id stays its own
        self.inputs: dict[nn.Module, set[nn.Conv2d | None]] = {}  # of each norm: where its inputs came from
        self.readers: dict[nn.Conv2d, set[nn.Module | None]] = {}  # of each convolution: which norms read it
        self.products = {"convolution": 0, "other": 0}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if _is_query(func):
            return out
        norm = self._norm(func, args, kwargs or {})
        for tensor in _tensors((args, kwargs)):
            _, source = self.made.get(id(tensor), (None, None))
            if source is not None:
                self.readers.setdefault(source, set()).add(norm)
        if norm is not None:
            _, source = self.made.get(id(args[0]), (None, None))
            self.inputs.setdefault(norm, set()).add(source)
        self._count(func, args, out)
        if func in _CONVOLUTIONS and id(args[1]) in self.convolutions:
            self.made[id(out)] = (out, self.convolutions[id(args[1])])
        return out

    def _norm(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module | None:
        if func is not F.batch_norm:
            return None
        mean = args[1] if len(args) > 1 else kwargs.get("running_mean")
        return self.norms.get(id(mean))

    def _count(self, func: Callable[..., Any], args: tuple[Any, ...], out: Any) -> None:
        if func in _CONVOLUTIONS:
            self.products["convolution"] += out.numel() * args[1][0].numel()
        elif func is F.linear:
            self.products["other"] += out.numel() * args[1].shape[-1]
        elif func in (torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm):
            self.products["other"] += out.numel() * args[0].shape[-1]
        elif func is F.scaled_dot_product_attention:
            self.products["other"] += 2 * args[0].numel() * args[1].shape[-2]


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
def watch(model: nn.Module, run: Callable[[Tensor], Any], sample: Tensor) -> Trace:
    """Run ``run(sample)`` once and note what may be folded in ``model``, which is in evaluation mode."""
    with _Watcher(model) as watcher:
        result = run(sample)
    for tensor in _tensors(result):  # what the network gives back is read by the caller
        _, source = watcher.made.get(id(tensor), (None, None))
        if source is not None:
            watcher.readers.setdefault(source, set()).add(None)
    trace = Trace()
    for norm, sources in watcher.inputs.items():
        (source, *others) = sources
        if source is not None and not others and watcher.readers[source] == {norm}:
            trace.pairs[norm] = source
    total = sum(watcher.products.values())
    trace.convolution_share = watcher.products["convolution"] / total if total else 0.0
    return trace


@torch.no_grad()
def fold(model: nn.Module, trace: Trace) -> int:
    """Fold the pairs of ``trace`` in place and put an identity where the norm was; returns how many."""
    for norm, convolution in trace.pairs.items():
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = 1 / (norm.running_var.double() + norm.eps).sqrt()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
        weight = convolution.weight
        bias = convolution.bias.double() * scale + shift if convolution.bias is not None else shift
        convolution.weight = nn.Parameter((weight.double() * scale.view(-1, 1, 1, 1)).to(weight.dtype))
        convolution.bias = nn.Parameter(bias.to(weight.dtype))
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child in trace.pairs:
                setattr(module, name, nn.Identity())
    return len(trace.pairs)
