"""The network: backbone, neck, decode head, and auxiliary heads where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.errors import InputSizeError
from segzoo.index import Entry
from segzoo.layers.resize import resize

__all__ = ["Segmentor"]


class Segmentor(nn.Module):
    """A segmentation network; its state dict has the published keys.

    ``decode_head`` is one head, or a ``ModuleList`` that is a cascade: each head also sees the logits of the one
    before. ``auxiliary_head`` is None, a head, or a ``ModuleList`` of independent ones.

    Attributes:
        entry: the index entry the network was built from.
        classes, palette: name and colour (red, green, blue; 0 to 255) of each class, in the order of the logits.
        reinitialised: keys that loading initialised afresh, because the number of classes is not the file's.
    """

    def __init__(
        self,
        *,
        entry: Entry,
        backbone: nn.Module,
        decode_head: nn.Module,
        neck: nn.Module | None = None,
        auxiliary_head: nn.Module | None = None,
        classes: Sequence[str],
        palette: Sequence[tuple[int, int, int]],
    ) -> None:
        super().__init__()
        self.entry = entry
        self.classes = tuple(classes)
        self.palette = tuple(palette)
        self.reinitialised: tuple[str, ...] = ()
        self.backbone = backbone
        self.neck = neck
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head

    @property
    def last_head(self) -> nn.Module:
        """The head whose logits are the output."""
        return self.decode_head[-1] if isinstance(self.decode_head, nn.ModuleList) else self.decode_head

    @property
    def num_classes(self) -> int:
        """Channels of the logits."""
        return len(self.classes)

    @property
    def align_corners(self) -> bool:
        """The flag of the resize from the head's logits to the input's size."""
        return bool(self.last_head.align_corners)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the input's size, in training and evaluation alike.

        Args:
            x: float (N, 3, H, W), normalised by the entry's mean and deviation, channels in RGB order.

        Returns:
            Logits (N, num_classes, H, W).

        Raises:
            InputSizeError: ``x`` is not of that shape or type, or too small for the architecture.
        """
        return resize(self.logits(x), x.shape[2:], align_corners=self.align_corners)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, H', W') of ``x`` (N, 3, H, W) at the decode head's own resolution."""
        return self.decode(self.features(x))

    def features(self, x: Tensor) -> list[Tensor]:
        """The features that the heads see, from ``x`` (N, 3, H, W)."""
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputSizeError(
                f"the network takes a float tensor of shape (N, 3, H, W), normalised; found {found}. "
                "model.predict takes pictures as they are"
            )
        features = self.backbone(x)
        return features if self.neck is None else self.neck(features)

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes, H', W') of the last decode head at its own resolution."""
        if not isinstance(self.decode_head, nn.ModuleList):
            return self.decode_head(features)
        first, *others = self.decode_head
        logits = first(features)
        for head in others:
            logits = head(features, logits)
        return logits

    def auxiliary(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits of each auxiliary head at its own resolution; empty where the network was built without them."""
        if self.auxiliary_head is None:
            return []
        heads = self.auxiliary_head if isinstance(self.auxiliary_head, nn.ModuleList) else [self.auxiliary_head]
        return [head(features) for head in heads]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' type."""
        return next(self.parameters()).dtype
