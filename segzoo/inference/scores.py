"""From low-resolution logits to labels, without the full-size class planes.

Logits stand class-last, (h, w, C), so that a position's classes are one piece of memory. The picture is cut into
small tiles; a tile reads a few low-resolution positions and weighs them (:mod:`segzoo.inference.taps`).

Every output value is a convex combination of the values its tile reads. Therefore, exactly:

* where all the positions a tile reads agree on the best class, that class wins the whole tile;
* elsewhere a class that is nowhere above some other one class cannot win, and only the rest is interpolated.
"""

from __future__ import annotations

import torch

from segzoo.inference.taps import Tiles

__all__ = ["interpolate", "labels"]

_PATCH_VALUES = 1 << 20  # values gathered at a time: some megabytes, near the second-level cache


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Matrix product in the tensors' own float32, in a caller's autocast context too."""
    with torch.autocast(left.device.type, enabled=False):
        return torch.matmul(left, right)


def interpolate(logits: torch.Tensor, rows: Tiles, cols: Tiles) -> torch.Tensor:
    """Logits (h, w, C) at every position of the tiles: (row tiles * their size, column tiles * their size, C)."""
    _, width, classes = logits.shape
    band = logits[rows.index].flatten(2)  # (row tiles, inputs, w * C)
    band = _product(rows.weight, band).view(-1, width, classes)
    count, inputs = cols.index.shape
    patches = band.index_select(1, cols.index.flatten()).view(len(band), count, inputs, classes)
    return _product(cols.weight, patches).view(len(band), count * cols.size, classes)


def labels(logits: torch.Tensor, rows: Tiles, cols: Tiles) -> torch.Tensor:
    """The best class at every position of the tiles, int16 (row tiles * their size, column tiles * their size).

    Equal to ``interpolate(...).argmax(-1)`` but where two best scores tie within rounding.
    """
    best = logits.argmax(-1).to(torch.int16)
    low, high = _extent(best, rows.index, cols.index)
    out = low[:, :, None, None].repeat(1, 1, rows.size, cols.size)
    contested = (low != high).nonzero()
    flat = logits.flatten(0, 1)
    inputs = rows.index.shape[1] * cols.index.shape[1]
    for at in contested.split(max(1, _PATCH_VALUES // (inputs * logits.shape[2]))):
        row, col = at.unbind(1)
        position = rows.index[row][:, :, None] * logits.shape[1] + cols.index[col][:, None, :]
        patches = flat.index_select(0, position.flatten()).view(*position.shape, logits.shape[2])
        out[row, col] = _contest(patches, rows.weight[row], cols.weight[col])
    return out.permute(0, 2, 1, 3).reshape(len(rows.index) * rows.size, -1)


def _extent(best: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest of the classes that each tile reads."""
    low, high = best[rows].aminmax(dim=1)
    return low[:, cols].amin(2), high[:, cols].amax(2)


def _contest(patches: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> torch.Tensor:
    """Labels (tiles, height, width) of tiles that read ``patches`` (tiles, inputs down, inputs across, classes)."""
    candidates = _candidates(patches.flatten(1, 2))
    count = candidates.sum(1)
    out = torch.empty(len(patches), rows.shape[1], cols.shape[1], dtype=torch.int16, device=patches.device)
    done, limit = 0, 2
    while done < len(patches):
        at = ((count > (limit // 2 if limit > 2 else 0)) & (count <= limit)).nonzero()[:, 0]
        if len(at):
            number = min(limit, patches.shape[3])
            names = candidates[at].to(torch.uint8).topk(number, dim=1).indices.sort(1).values
            out[at] = _compare(patches[at], names, rows[at], cols[at])
            done += len(at)
        limit *= 2
    return out


def _candidates(values: torch.Tensor) -> torch.Tensor:
    """Which classes may win somewhere: (tiles, inputs, classes) -> bool (tiles, classes).

    Two rulers are tried: the class that is best on the whole, and the best one where that falls short most. What is
    nowhere above a ruler cannot win.
    """
    first = values.sum(1).argmax(1)
    over = values - values.gather(2, first[:, None, None].expand(-1, values.shape[1], 1))
    surplus, winner = over.max(2)
    worst = surplus.argmax(1, keepdim=True)
    second = winner.gather(1, worst)[:, 0]
    candidates = over.amax(1) > 0
    over = values - values.gather(2, second[:, None, None].expand(-1, values.shape[1], 1))
    candidates &= over.amax(1) > 0
    tile = torch.arange(len(values), device=values.device)
    candidates[tile, first] = True
    candidates[tile, second] = True
    return candidates


def _compare(patches: torch.Tensor, names: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> torch.Tensor:
    """Interpolate the classes ``names`` (tiles, n) alone and name the best at each position; the first in a tie."""
    tiles, down, across, _ = patches.shape
    number = names.shape[1]
    chosen = patches.gather(3, names[:, None, None].expand(-1, down, across, -1)).transpose(2, 3)
    wide = _product(chosen.reshape(tiles, down * number, across), cols.transpose(1, 2))
    scores = _product(rows, wide.view(tiles, down, -1)).view(tiles, rows.shape[1], number, -1)
    best, winner = scores[:, :, 0], torch.zeros_like(scores[:, :, 0], dtype=torch.int16)
    for rank in range(1, number):
        above = scores[:, :, rank] > best
        winner.masked_fill_(above, rank)
        best = torch.maximum(best, scores[:, :, rank])
    return names.gather(1, winner.flatten(1).long()).to(torch.int16).view_as(winner)
