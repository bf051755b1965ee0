"""The images of a data set shared out among the processes that torchrun starts, and their counts added up."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from segzoo.errors import OptionError

__all__ = ["add_up", "device_of", "first", "joined", "place", "share"]

_PATIENCE = datetime.timedelta(hours=12)  # until the slowest process has done its share; torchrun notices dead ones


@contextmanager
def joined() -> Iterator[None]:
    """Membership in the group of processes that torchrun started; nothing where there is one process, or a group.

    Counts are whole numbers and few, so they go over gloo whatever the models run on.
    """
    if _started() == 1 or dist.is_initialized():
        yield
        return
    # A group of its own keys in the store that torchrun shares: those of an earlier group, by now destroyed, would lead
    # the second evaluation of a script to sockets that are closed.
    store, rank, world = next(dist.rendezvous("env://"))
    turn = store.add(f"segzoo/evaluations/{rank}", 1)
    own = dist.PrefixStore(f"segzoo/{turn}", store)
    dist.init_process_group("gloo", store=own, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """(rank, number of processes)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def first() -> bool:
    """Whether this process is the one that speaks for all; true also before or after the group exists."""
    return int(os.environ.get("RANK", "0")) == 0


def share(count: int) -> range:
    """Which of ``count`` images are this process's: every image is in exactly one process's share."""
    rank, world = place()
    return range(rank, count, world)


def add_up(counts: Tensor) -> Tensor:
    """The sum of every process's int64 ``counts``, on the device they are on."""
    if place()[1] == 1:
        return counts
    carried = counts.to("cuda" if dist.get_backend() == "nccl" else "cpu", copy=True)
    dist.all_reduce(carried)
    return carried.to(counts.device)


def device_of(device: torch.device | str | None) -> torch.device:
    """The device to run on: as asked for; else this process's own GPU; else the CPU.

    Raises:
        OptionError: one GPU is asked for, and there are several processes.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type != "cuda" or _started() == 1:
        return chosen
    if ":" in str(chosen):
        raise OptionError(f"device={chosen}: every process takes a GPU of its own; say 'cuda', or leave it out")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def _started() -> int:
    """How many processes torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))
