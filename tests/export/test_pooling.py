"""Adaptive average pooling in plain operations: the same figures, at any size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.export.pooling import ExactPooling, adaptive_average_pool, shares


@pytest.mark.parametrize("size", [(7, 10), (65, 33), (5, 12), (6, 6), (1, 4)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6, 8, (2, 5), (None, 3)])
def test_it_is_what_torch_computes(size: tuple[int, int], bins: object) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(adaptive_average_pool(x, bins), F.adaptive_avg_pool2d(x, bins), atol=1e-12)


def test_shares_by_hand() -> None:
    # 5 positions in 3 bins: 0-1, 1-3, 3-4
    expected = [[1 / 2, 1 / 2, 0, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 1 / 2, 1 / 2]]
    assert torch.allclose(shares(5, 3, torch.zeros(1)), torch.tensor(expected))


class Pools(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 3) + nn.AdaptiveAvgPool2d((3, 1))(x)


def test_an_exported_program_pools_exactly_at_sizes_it_has_not_seen() -> None:
    side = torch.export.Dim.DYNAMIC
    x = torch.randn(1, 2, 9, 16)
    with ExactPooling():
        program = torch.export.export(Pools(), (x,), dynamic_shapes={"x": {2: side, 3: side}}, strict=False)
    assert not [node for node in program.graph.nodes if "adaptive" in str(node.target)]
    for size in ((9, 16), (10, 16), (7, 23), (4, 5)):
        x = torch.randn(1, 2, *size)
        assert torch.allclose(program.module()(x), Pools()(x), atol=1e-6)
