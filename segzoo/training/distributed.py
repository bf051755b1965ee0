"""One process, or many under torchrun: joining them, sums over them, batch normalisation over all their pictures."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segzoo.errors import OptionError

__all__ = ["Processes", "ReducedBatchNorm2d", "joined", "shared", "synchronised"]


@dataclass(frozen=True)
class Processes:
    """This process among those that train together. ``device`` is its own."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, the same in each."""
        return self.sum(values) / self.world

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same in each; ``values`` is left as it is."""
        values = values.clone()
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in one of them."""
        if self.world == 1:
            return flag
        raised = torch.tensor(int(flag))  # on the CPU, so that no GPU is waited for
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def wait(self) -> None:
        """Until all are here."""
        self.any(False)


@contextlib.contextmanager
def joined(device: torch.device | str | None = None) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Under torchrun (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK`` are set) a process takes the GPU of its local rank, if
    there are GPUs and ``device`` does not say ``'cpu'``. Values on GPUs are reduced by NCCL, those on CPUs by Gloo.
    A process group that exists already is used and kept.

    Raises:
        OptionError: the device cannot be used, or under torchrun names one GPU.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    already = dist.is_available() and dist.is_initialized()
    chosen = _device(device, several=world > 1 or already)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not already and world > 1:
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=datetime.timedelta(minutes=30))
    try:
        if already or world > 1:
            yield Processes(dist.get_rank(), dist.get_world_size(), chosen)
        else:
            yield Processes(0, 1, chosen)
    finally:
        if not already and world > 1:
            dist.destroy_process_group()


def _device(device: torch.device | str | None, *, several: bool) -> torch.device:
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise OptionError(f"device={device!r} is none; give cpu, cuda or cuda:N") from None
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError(f"device={device!r}: torch sees no GPU here; use --device cpu")
        if several and chosen.index is not None:
            raise OptionError(f"device={device!r}: of several processes each takes its own GPU; say 'cuda'")
        index = int(os.environ.get("LOCAL_RANK", "0")) if several else chosen.index or 0
        if index >= torch.cuda.device_count():
            raise OptionError(f"there is no GPU {index}: torch sees {torch.cuda.device_count()}")
        chosen = torch.device("cuda", index)
    return chosen


def shared(module: nn.Module, *, passes: int) -> DistributedDataParallel:
    """The module with gradients averaged over the processes of the group, once in ``passes`` backward passes.

    Buffers are not sent about: normalisation sees to it that they are the same everywhere. Parts of a network that no
    loss reaches are found once, or, as torch cannot do so while gradients accumulate, in every pass.
    """
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    options: dict[str, Any] = {"static_graph": passes == 1, "find_unused_parameters": passes > 1, buffers: False}
    return DistributedDataParallel(module, **options)


class _Sum(torch.autograd.Function):
    """The sum over all processes. What each does with it flows back to all that added to it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class ReducedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of all processes' pictures together, on any device.

    torch's SyncBatchNorm is made for GPUs only. The arithmetic is that of :class:`torch.nn.BatchNorm2d` (Ioffe and
    Szegedy, 2015): the biased variance normalises, the unbiased one goes into the running average. Shapes: (N, C, H, W)
    to the same; N may differ between processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        channels = x.shape[1]
        total = _Sum.apply(torch.cat([values.sum((0, 2, 3)), values.new_tensor([x.numel() / channels])]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean.view(1, -1, 1, 1)
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach(), float(count))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        out = centred * scale.view(1, -1, 1, 1)
        if self.affine:
            out = out + self.bias.view(1, -1, 1, 1)
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


def synchronised(model: nn.Module, processes: Processes) -> nn.Module:
    """The model, its batch normalisation over all processes: torch's own on GPUs, ours elsewhere.

    Names of parameters and buffers stay as they are; so does the model where there is one process.
    """
    if processes.world == 1:
        return model
    if processes.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _reduced(child))
    return model


def _reduced(norm: nn.BatchNorm2d) -> ReducedBatchNorm2d:
    with torch.device("meta"):
        twin = ReducedBatchNorm2d(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        ).train(norm.training)
    # The very tensors: a frozen one stays frozen, one that is shared stays shared.
    twin.weight, twin.bias = norm.weight, norm.bias
    twin.running_mean, twin.running_var = norm.running_mean, norm.running_var
    twin.num_batches_tracked = norm.num_batches_tracked
    return twin
