"""Reading maps at points, and choosing the points where a prediction is least sure.

Source: Kirillov, Wu, He, Girshick, "PointRend: Image Segmentation as Rendering", CVPR 2020
(https://arxiv.org/abs/1912.08193), section 3. A point is (x, y) in fractions of the map's width and height: (0, 0) is
the map's upper left corner, (1, 1) its lower right one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["most_uncertain_points", "point_sample", "random_uncertain_points", "uncertainty"]


def point_sample(x: Tensor, points: Tensor, *, mode: str = "bilinear", align_corners: bool = False) -> Tensor:
    """The values of a map at points; beyond the map there are zeros, which the outer half of a border pixel sees too.

    Args:
        x: (N, C, H, W).
        points: (N, P, 2).
        mode: ``'bilinear'`` or ``'nearest'`` (for label maps).
        align_corners: whether 0 and 1 are the centres of the outermost pixels, rather than their outer edges.

    Returns:
        (N, C, P), of the type of ``x``.
    """
    # Half precision cannot tell the pixels of a large map apart.
    with torch.autocast(x.device.type, enabled=False):
        grid = 2 * points.float().unsqueeze(2) - 1
        found = F.grid_sample(x.float(), grid, mode=mode, padding_mode="zeros", align_corners=align_corners)
    return found.squeeze(3).to(x.dtype)


def uncertainty(logits: Tensor) -> Tensor:
    """How close the second class comes to the first: logits (N, K, *) -> (N, *), at most 0, 0 being a tie.

    With one class, for a sigmoid, it is how close the logit is to 0.
    """
    if logits.shape[1] == 1:
        return -logits[:, 0].abs()
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    return second - first


def most_uncertain_points(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` pixels of logits (N, K, H, W) that are least sure, or all where there are no more.

    Returns:
        Flat indices, int64 (N, P), and the centres of these pixels, float (N, P, 2).
    """
    height, width = logits.shape[2:]
    indices = uncertainty(logits).flatten(1).topk(torch.sym_min(count, height * width), dim=1).indices
    rows = indices.div(width, rounding_mode="floor")
    x = ((indices - rows * width).float() + 0.5) / width  # a remainder by a size left open is no operation of ONNX's
    y = (rows.float() + 0.5) / height
    return indices, torch.stack([x, y], dim=2)


def random_uncertain_points(
    logits: Tensor,
    count: int,
    *,
    oversample_ratio: float = 3.0,
    importance_sample_ratio: float = 0.75,
    align_corners: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Points to train on (section 3.1): some are the least sure of many random ones, the rest are plainly random.

    Args:
        logits: (N, K, H, W).
        count: points per picture.
        oversample_ratio: random candidates per point, at least 1.
        importance_sample_ratio: share of the points that are chosen among the candidates, 0 to 1.
        align_corners: as in :func:`point_sample`.
        generator: where the random numbers come from, on the logits' device.

    Returns:
        float (N, count, 2); no gradient flows through the choice.
    """

    def draw(number: int) -> Tensor:
        return torch.rand(logits.shape[0], number, 2, device=logits.device, generator=generator)

    chosen = int(importance_sample_ratio * count)
    candidates = draw(int(oversample_ratio * count))
    # Sampled first, then judged: between two sure pixels of different classes lies an unsure point.
    doubts = uncertainty(point_sample(logits.detach(), candidates, align_corners=align_corners))
    best = doubts.topk(chosen, dim=1).indices
    picked = candidates.gather(1, best.unsqueeze(2).expand(-1, -1, 2))
    return torch.cat([picked, draw(count - chosen)], dim=1)
