"""Window attention against the plain form: which positions meet, and which do not."""

from __future__ import annotations

import pytest
import torch

from segzoo.layers.attention import RelativePositionAttention
from segzoo.layers.windows import LocallyGroupedAttention, ShiftedWindowAttention, join_windows, split_windows


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_windows_of_a_numbered_map() -> None:
    x = torch.arange(16).view(1, 4, 4, 1)
    windows = split_windows(x, 2)
    assert windows.squeeze(2).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert torch.equal(join_windows(windows, 2, 4, 4), x)


def test_windows_of_several_samples_come_back_in_order() -> None:
    x = torch.randn(3, 6, 4, 5)
    assert torch.equal(join_windows(split_windows(x, 2), 2, 6, 4), x)


def reach(layer: torch.nn.Module, height: int, width: int, row: int, column: int) -> list[tuple[int, int]]:
    """Positions whose input the output at one position depends on."""
    x = torch.randn(1, height, width, 4, requires_grad=True)
    layer(x)[0, row, column].square().sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(2) > 1e-12
    return [(int(i), int(j)) for i, j in seen.nonzero()]


def square(rows: range, columns: range) -> list[tuple[int, int]]:
    return [(i, j) for i in rows for j in columns]


def test_a_window_that_is_not_shifted_is_attended_to_alone() -> None:
    layer = ShiftedWindowAttention(4, 2, 2, shifted=False)
    x = torch.randn(1, 4, 4, 4)
    found = layer(x)
    for i in (0, 2):
        for j in (0, 2):
            expected = layer.w_msa(x[:, i : i + 2, j : j + 2].reshape(1, 4, 4))
            assert torch.allclose(found[:, i : i + 2, j : j + 2].reshape(1, 4, 4), expected, atol=1e-6)


def test_shifted_windows_straddle_and_do_not_wrap_around() -> None:
    layer = ShiftedWindowAttention(4, 2, 4, shifted=True)
    # A shift of 2: the windows begin at -2, 2 and 6; those at the edges hold only what was neighbours before.
    assert reach(layer, 8, 8, 3, 3) == square(range(2, 6), range(2, 6))
    assert reach(layer, 8, 8, 0, 0) == square(range(2), range(2))
    assert reach(layer, 8, 8, 7, 4) == square(range(6, 8), range(2, 6))


def test_a_shifted_map_is_the_plain_attention_of_its_parts() -> None:
    layer = ShiftedWindowAttention(4, 2, 4, shifted=True)
    x = torch.randn(2, 8, 8, 4)
    inner = RelativePositionAttention(4, 2, (4, 4))
    inner.load_state_dict(layer.w_msa.state_dict())
    expected = inner(x[:, 2:6, 2:6].reshape(2, 16, 4)).view(2, 4, 4, 4)
    assert torch.allclose(layer(x)[:, 2:6, 2:6], expected, atol=1e-6)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_map_is_padded_to_whole_windows(shifted: bool) -> None:
    layer = ShiftedWindowAttention(4, 2, 4, shifted=shifted)
    x = torch.randn(1, 5, 6, 4)
    padded = torch.zeros(1, 8, 8, 4)
    padded[:, :5, :6] = x
    assert torch.allclose(layer(x), layer(padded)[:, :5, :6], atol=1e-6)


def test_local_groups_do_not_see_the_padding_of_two_sides() -> None:
    layer = LocallyGroupedAttention(4, 2, 4)
    x = torch.randn(2, 6, 7, 4)
    found = layer(x)
    for rows in (slice(0, 4), slice(4, 6)):
        for columns in (slice(0, 4), slice(4, 7)):
            group = x[:, rows, columns]
            expected = layer.attention(group.flatten(1, 2)).view_as(group)
            assert torch.allclose(found[:, rows, columns], expected, atol=1e-6)


def test_local_groups_see_the_padding_of_one_side_as_published() -> None:
    layer = LocallyGroupedAttention(4, 2, 4)
    x = torch.randn(1, 4, 6, 4)
    padded = torch.zeros(1, 4, 8, 4)
    padded[:, :, :6] = x
    expected = layer.attention(padded[:, :, 4:].reshape(1, 16, 4)).view(1, 4, 4, 4)
    assert torch.allclose(layer(x)[:, :, 4:], expected[:, :, :2], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(dtype: torch.dtype) -> None:
    for layer in (ShiftedWindowAttention(8, 2, 4, shifted=True), LocallyGroupedAttention(8, 2, 4)):
        with torch.autocast("cpu", dtype=dtype):
            assert layer(torch.randn(1, 6, 7, 8)).isfinite().all()
