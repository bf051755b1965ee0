"""The published chain written out plainly, on full-size tensors: what the fast one is compared with."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.index import Entry, Protocol, find
from segzoo.inference.resample import resize_bilinear


class Tiny(nn.Module):
    """A network of two convolutions with what ``predict`` and ``optimize`` use."""

    neck = None

    def __init__(self, protocol: Protocol, classes: int = 7, stride: int = 4, align_corners: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(classes * 100 + stride)
        self.backbone = nn.Conv2d(3, 8, 2 * stride + 1, stride, stride)
        self.second = nn.Conv2d(8, classes, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
        self.classes = tuple(f"class {i}" for i in range(classes))
        self.palette = tuple((i * 37 % 256, i * 91 % 256, i * 151 % 256) for i in range(classes))
        self.align_corners = align_corners
        self.entry = tiny_entry(protocol)
        self.seen: list[tuple[int, ...]] = []

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def logits(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return self.second(torch.tanh(self.backbone(x)))


def tiny_entry(protocol: Protocol) -> Entry:
    from dataclasses import replace

    return replace(find("fastfcn_r50_jpu_psp_cityscapes"), protocol=protocol, crop_size=(64, 64))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A drawn picture with flat regions, edges and noise, uint8 (H, W, 3)."""
    draw = np.random.RandomState(seed)
    rows, cols = np.mgrid[0:height, 0:width]
    out = np.zeros((height, width, 3))
    for _ in range(6):
        a, b, c = draw.randn(3)
        out[(a * rows + b * cols + c * height / 2) > 0] += draw.randint(-60, 60, 3)
    out += 128 + draw.randn(height, width, 3) * 6
    return out.clip(0, 255).astype(np.uint8)


def starts(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    """Window bounds as published."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    bounds = []
    for i in range(count):
        end = min(i * stride + crop, length)
        bounds.append((max(end - crop, 0), end))
    return bounds


def network_logits(model: Tiny, x: Tensor, crop: tuple[int, int] | None, stride: tuple[int, int] | None) -> Tensor:
    """Logits (1, C, H, W) at the input's size."""

    def whole(part: Tensor) -> Tensor:
        return F.interpolate(model.logits(part), part.shape[2:], mode="bilinear", align_corners=model.align_corners)

    if crop is None or stride is None:
        return whole(x)
    height, width = x.shape[2:]
    total = torch.zeros(1, model.num_classes, height, width)
    count = torch.zeros(1, 1, height, width)
    for top, bottom in starts(height, crop[0], stride[0]):
        for left, right in starts(width, crop[1], stride[1]):
            total[:, :, top:bottom, left:right] += whole(x[:, :, top:bottom, left:right])
            count[:, :, top:bottom, left:right] += 1
    return total / count


@torch.no_grad()
def plain_scores(
    model: Tiny,
    image: np.ndarray,
    sizes: list[tuple[int, int]],
    flip: bool = False,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
) -> Tensor:
    """Mean probabilities (C, H, W) over network inputs of ``sizes`` and flips."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.entry.protocol.mean, model.entry.protocol.std))
    views = []
    for size in sizes:
        pixels = resize_bilinear(image, size)
        x = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - mean) / std
        for mirrored in (False, True) if flip else (False,):
            logits = network_logits(model, x.flip(3) if mirrored else x, crop, stride)
            logits = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=model.align_corners)
            scores = logits.sigmoid() if model.num_classes == 1 else logits.softmax(1)
            views.append(scores.flip(3) if mirrored else scores)
    return (torch.stack(views).mean(0) if len(views) > 1 else views[0])[0]


def assert_same_labels(mask: np.ndarray, scores: Tensor, tolerance: float = 1e-5) -> None:
    """Labels equal the best of ``scores`` (C, H, W) but where the label's score is within rounding of the best."""
    chosen = scores.gather(0, torch.from_numpy(mask.astype(np.int64))[None])[0]
    behind = scores.amax(0) - chosen
    assert behind.max().item() <= tolerance
    assert (torch.from_numpy(mask.astype(np.int64)) == scores.argmax(0)).float().mean() > 0.999
