"""Padding that makes a strided convolution cover its whole input, as TensorFlow's ``SAME`` does."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["pad_same"]


def pad_same(x: Tensor, kernel_size: int, stride: int) -> Tensor:
    """Zeros around (N, C, H, W), so that an unpadded convolution gives (N, C', ceil(H / stride), ceil(W / stride)).

    Where their number is odd, the bottom and the right get the one more.
    """
    missing = (torch.sym_max((-(-n // stride) - 1) * stride + kernel_size - n, 0) for n in x.shape[2:])
    rows, columns = (cast(int, n) for n in missing)
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
