"""Point-wise spatial attention: every position has a learned mask over its surroundings.

Source: Zhao et al., "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV 2018
(https://hszhao.github.io/papers/eccv18_psanet.pdf), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["collect", "distribute"]


def collect(x: Tensor, mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """Each position gathers from all, with the weights that its own mask gives them.

    The mask of a position covers ``mask_size`` positions around it. Where it does not reach, its score is zero; then
    the softmax runs over all positions of the map. The weights are made for a row of positions at a time.

    Shapes: x (N, C, H, W), mask (N, mask_size[0] * mask_size[1], H, W) -> (N, C, H, W).
    """
    (height, width), device = x.shape[2:], x.device
    masks = mask.unflatten(1, mask_size)
    rows, row_inside = _places(height, mask_size[0], device)
    columns, column_inside = _places(width, mask_size[1], device)
    positions, gathered = x.flatten(2), []
    for row in range(height):
        # (N, source row, mask column, column), then (N, source row, source column, column)
        scores = masks[..., row, :].index_select(1, rows[:, row])
        scores = scores.gather(2, columns.expand(*scores.shape[:2], -1, -1))
        scores = scores.masked_fill(~(row_inside[:, row, None, None] & column_inside), 0.0)
        gathered.append(positions @ scores.flatten(1, 2).softmax(dim=1))
    return torch.stack(gathered, dim=2)


def distribute(x: Tensor, mask: Tensor, mask_size: tuple[int, int]) -> Tensor:
    """Each position gathers from all, with the weights that their masks give it.

    As in :func:`collect`, a mask that does not reach the position gives it the score zero, the softmax runs over all
    positions that give, and the weights are made for a row of receiving positions at a time.

    Shapes: x (N, C, H, W), mask (N, mask_size[0] * mask_size[1], H, W) -> (N, C, H, W).
    """
    (height, width), device = x.shape[2:], x.device
    masks = mask.unflatten(1, mask_size)
    rows, row_inside = _places(height, mask_size[0], device)
    columns, column_inside = _places(width, mask_size[1], device)
    sources = torch.arange(height, device=device)
    positions, gathered = x.flatten(2), []
    for row in range(height):
        # (N, source row, mask column, source column), then (N, source row, column, source column)
        scores = masks[:, rows[row], :, sources].transpose(0, 1)
        scores = scores.gather(2, columns.expand(*scores.shape[:2], -1, -1))
        scores = scores.masked_fill(~(row_inside[row, :, None, None] & column_inside), 0.0)
        gathered.append(positions @ scores.transpose(2, 3).flatten(1, 2).softmax(dim=1))
    return torch.stack(gathered, dim=2)


def _places(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where position i stands in the mask that is centred on position j, and whether the mask reaches it.

    Shapes: both (length, length), [i, j]; a place that is outside is drawn to the edge.
    """
    line = torch.arange(length, device=device)
    place = line[:, None] - line + (size - 1) // 2
    inside = place.clamp(0, size - 1)
    return inside, inside == place
