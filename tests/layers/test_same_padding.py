from __future__ import annotations

import pytest
import torch

from segzoo.layers.same_padding import pad_same


def test_the_odd_zero_goes_to_the_end() -> None:
    x = torch.ones(1, 1, 4, 5)
    # Kernel 3, stride 2: rows 4 -> 2 need one zero, columns 5 -> 3 need two.
    expected = torch.zeros(1, 1, 5, 7)
    expected[:, :, :4, 1:6] = 1
    assert torch.equal(pad_same(x, 3, 2), expected)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_start_of_a_stride_gets_a_window(size: int, kernel_size: int, stride: int) -> None:
    padded = pad_same(torch.ones(1, 1, size, size), kernel_size, stride)
    windows = torch.nn.functional.unfold(padded, kernel_size, stride=stride)
    assert windows.shape[2] == len(range(0, size, stride)) ** 2
    assert windows.sum(dim=1).min() > 0  # none sees nothing but padding


def test_stride_one_is_the_usual_padding() -> None:
    x = torch.randn(1, 2, 5, 6)
    assert torch.equal(pad_same(x, 5, 1), torch.nn.functional.pad(x, (2, 2, 2, 2)))
