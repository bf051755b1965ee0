"""Outputs of the backbone that no head reads, left out: each would keep its map until the network is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segzoo.errors import SegzooError

if TYPE_CHECKING:
    from segzoo.segmentor import Segmentor

__all__ = ["prune"]


class _Watched(Sequence[Tensor]):
    """Features that note which of them are read."""

    def __init__(self, features: Sequence[Tensor]) -> None:
        self.features = features
        self.read: set[int] = set()

    def __getitem__(self, index: Any) -> Any:
        places = range(len(self.features))[index]
        self.read |= {places} if isinstance(places, int) else set(places)
        return self.features[index]

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class _Pruned:
    """The logits of a network whose backbone gives ``read`` alone of ``count`` features."""

    network: Segmentor
    read: tuple[int, ...]
    count: int

    def __call__(self, x: Tensor) -> Tensor:
        features: list[Any] = [None] * self.count
        for place, feature in zip(self.read, self.network.features(x), strict=True):
            features[place] = feature
        return self.network.decode(features)


@torch.inference_mode()
def prune(network: Segmentor, sample: Tensor) -> Callable[[Tensor], Tensor]:
    """The logits of ``network`` as a function that makes no feature in vain.

    What the decode head reads is watched on ``sample``, and the backbone is asked for no more (its ``out_indices``);
    if that changes what it gives on ``sample``, or what the head can do, the network is left as it was.
    """
    backbone, neck = network.backbone, network.neck
    indices = getattr(backbone, "out_indices", None)
    if neck is not None or not isinstance(indices, tuple):
        return network.logits
    features = network.features(sample)
    watched = _Watched(features)
    before = network.decode(watched)
    if len(features) != len(indices) or len(watched.read) == len(indices):
        return network.logits

    logits = _Pruned(network, tuple(sorted(watched.read)), len(indices))
    backbone.out_indices = tuple(indices[place] for place in logits.read)  # type: ignore[assignment]  # not a module
    try:
        if torch.equal(logits(sample), before):
            return logits
    except (SegzooError, LookupError, TypeError, ValueError, AttributeError):
        pass  # this backbone, or its head, does more with its outputs than to hand them on
    backbone.out_indices = indices  # type: ignore[assignment]
    return network.logits
