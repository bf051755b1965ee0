from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from segzoo.layers.position_attention import PositionAttention, attend_positions, gather_context, projection
from tests.layers.recorder import largest_tensor


def by_loops(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The definition, a position at a time."""
    out = query.new_zeros(len(query), value.shape[1], *query.shape[2:])
    for n in range(len(query)):
        keys, values = key[n].flatten(1), value[n].flatten(1)
        for y in range(query.shape[2]):
            for x in range(query.shape[3]):
                products = [scale * float(query[n, :, y, x] @ keys[:, i]) for i in range(keys.shape[1])]
                weights = [math.exp(p - max(products)) for p in products]
                out[n, :, y, x] = sum(w * values[:, i] for i, w in enumerate(weights)) / sum(weights)
    return out


def test_attend_positions_by_hand() -> None:
    query = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    key = torch.tensor([0.0, math.log(3.0)]).reshape(1, 1, 2)
    value = torch.tensor([[1.0, 5.0], [0.0, 1.0]]).reshape(1, 2, 2)
    # Weights 1:1, 1:3 and 1:9.
    expected = torch.tensor([[3.0, 4.0, 4.6], [0.5, 0.75, 0.9]]).reshape(1, 2, 1, 3)
    torch.testing.assert_close(attend_positions(query, key, value, scale=1.0), expected)


@pytest.mark.parametrize(("width", "depth"), [(4, 4), (3, 7), (7, 3)])
@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
def test_attend_positions_equals_its_definition(width: int, depth: int, scale: float | None) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, width, 3, 2).double(), torch.randn(2, width, 4, 2).double()
    value = torch.randn(2, depth, 4, 2).double()
    expected = by_loops(query, key, value, width**-0.5 if scale is None else scale)
    torch.testing.assert_close(attend_positions(query, key, value, scale=scale), expected)


def test_gather_context_by_hand() -> None:
    x = torch.tensor([[1.0, 5.0], [0.0, 4.0]]).reshape(1, 2, 1, 2)
    scores = torch.tensor([[0.0, math.log(3.0)], [2.0, 2.0]]).reshape(1, 2, 1, 2)
    expected = torch.tensor([[4.0, 3.0], [3.0, 2.0]]).reshape(1, 2, 2, 1)
    torch.testing.assert_close(gather_context(x, scores), expected)


def test_projection_has_as_many_convolutions_as_asked() -> None:
    keys = set(projection(3, 5).state_dict())
    assert {key for key in keys if key.startswith("conv")} == {"conv.weight"}
    two = projection(3, 5, 2)
    assert two.state_dict()["0.conv.weight"].shape == (5, 3, 1, 1)
    assert two.state_dict()["1.conv.weight"].shape == (5, 5, 1, 1)


class EverySecond(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)[:, :, ::2]


def test_position_attention_projects_pools_and_attends() -> None:
    torch.manual_seed(0)
    query, key, value, last = nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1), nn.Conv2d(5, 6, 1), nn.Conv2d(6, 2, 1)
    attention = PositionAttention(
        query_project=query, key_project=key, value_project=value, out_project=last, key_pool=EverySecond()
    )
    x, source = torch.randn(2, 3, 2, 3), torch.randn(2, 5, 3, 4)
    with torch.no_grad():
        thin = source.flatten(2)[:, :, ::2].unsqueeze(3)
        expected = last(by_loops(query(x), key(thin), value(thin), 0.5))
        torch.testing.assert_close(attention(x, source), expected)


def test_one_projection_for_key_and_query_has_two_names_and_one_weight() -> None:
    shared = nn.Conv2d(3, 4, 1)
    attention = PositionAttention(query_project=shared, key_project=shared, value_project=nn.Conv2d(3, 3, 1))
    assert [name for name, _ in attention.named_parameters()] == [
        "key_project.weight",
        "key_project.bias",
        "value_project.weight",
        "value_project.bias",
    ]
    state = attention.state_dict()
    assert torch.equal(state["query_project.weight"], state["key_project.weight"])
    assert attention(torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2)).shape == (1, 3, 2, 2)


@pytest.mark.parametrize(("width", "depth"), [(8, 8), (4, 8)])
@torch.inference_mode()
def test_no_tensor_of_positions_by_positions_is_made(width: int, depth: int) -> None:
    query, value = torch.randn(1, width, 16, 32), torch.randn(1, depth, 16, 32)
    assert largest_tensor(attend_positions, query, query, value) < (16 * 32) ** 2 // 4
