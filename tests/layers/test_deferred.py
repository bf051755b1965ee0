"""Convolutions moved before resizes: the same values, in every combination, and fewer multiplications."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import segzoo
from benchmarks.parity import fill
from segzoo.layers.deferred import Deferring, Joined, Resized, deferred


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def up(x: Tensor, height: int, width: int, align_corners: bool = False) -> Tensor:
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=align_corners)


def same(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    found, expected = deferred(function, x), function(x)
    assert type(found) is Tensor
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [((1, 1), 1), ((3, 3), 1), ((3, 3), 5), ((5, 3), 1), ((1, 7), 1)])
@pytest.mark.parametrize("source", [(1, 1), (2, 3), (7, 9)])
def test_convolution_of_joined_maps(
    source: tuple[int, int], kernel: tuple[int, int], dilation: int, align_corners: bool, layout: torch.memory_format
) -> None:
    weight, bias = noise(6, 84, *kernel), noise(6, seed=1)
    fine = noise(2, 20, 18, 23, seed=2).to(memory_format=layout)
    padding = tuple(dilation * (k - 1) // 2 for k in kernel)

    def join(x: Tensor) -> Tensor:
        parts = [up(x, 18, 23, align_corners), fine, up(x[:, :32], 18, 23, align_corners)]
        return F.conv2d(torch.cat(parts, 1), weight, bias, 1, padding, dilation)

    same(join, noise(2, 32, *source, seed=3).to(memory_format=layout))


def test_a_map_alone_and_nothing_but_resized_maps() -> None:
    weight = noise(5, 16, 3, 3)
    same(lambda x: F.conv2d(up(x, 20, 20), weight, None, 1, 1), noise(1, 16, 5, 5))
    same(lambda x: F.conv2d(torch.cat([up(x, 20, 20)] * 2, 1), noise(5, 32, 1, 1), noise(5)), noise(1, 16, 5, 5))
    same(
        lambda x: F.conv2d(torch.cat([torch.cat([up(x, 8, 8), up(x, 8, 8)], 1)] * 2, 1), noise(5, 64, 1, 1)),
        noise(1, 16, 2, 2),
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: up(x, 12, 14),
        lambda x: up(x, 12, 14) + up(x, 12, 14),
        lambda x: torch.relu(up(x, 12, 14)),
        lambda x: up(x, 12, 14).relu_().mul(2),
        lambda x: torch.cat([up(x, 12, 14), up(x, 12, 14)], 1),
        lambda x: torch.cat([up(x, 12, 14), up(x, 12, 14)], 2),
        lambda x: torch.cat([up(x, 12, 14), up(x, 12, 14)], dim=0),
        lambda x: up(x, 12, 14).flatten(2).transpose(1, 2) @ noise(16, 4),
        lambda x: up(x, 12, 14)[:, 2:5].permute(0, 2, 3, 1).contiguous(),
        lambda x: F.conv2d(up(x, 12, 14), noise(16, 1, 3, 3), None, 1, 1, 1, 16),
        lambda x: F.conv2d(up(x, 12, 14), noise(4, 16, 3, 3), None, 2, 1),
        lambda x: F.conv2d(up(x, 12, 14), noise(4, 16, 3, 3)),
        lambda x: F.conv2d(up(x, 12, 14), noise(4, 16, 3, 3), None, 1, "same"),
        lambda x: F.conv2d(up(x, 12, 14), noise(40, 16, 1, 1)),
        lambda x: up(up(x, 12, 14), 30, 31, True),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, (12, 14), mode="nearest"),
        lambda x: F.interpolate(x, (12, 14), mode="bilinear", antialias=True),
        lambda x: up(x, 3, 4),
        lambda x: x.new_full((1,), float(up(x, 12, 14).shape[2] + up(x, 12, 14).size(3))) + up(x, 12, 14).mean(),
        lambda x: F.layer_norm(up(x, 12, 14), (14,)),
        lambda x: up(x, 300, 10) * 2,
    ],
)
def test_whatever_else_reads_a_map_finds_its_values(function: Callable[[Tensor], Tensor]) -> None:
    with torch.inference_mode():
        same(function, noise(1, 16, 5, 6))
    same(function, noise(1, 16, 5, 6).to(memory_format=torch.channels_last))


def test_enlargements_are_put_off_and_work_is_saved() -> None:
    weight = noise(64, 128, 3, 3)
    with Deferring():
        resized = up(noise(1, 64, 4, 4), 32, 32)
        joined = torch.cat([resized, noise(1, 64, 32, 32)], 1)
        assert type(resized) is Resized
        assert type(joined) is Joined
        assert resized.shape == (1, 64, 32, 32)
        assert joined.shape == (1, 128, 32, 32)
        assert type(F.conv2d(joined, weight, None, 1, 1)) is Tensor
        assert resized._dense is None
        assert joined._dense is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("kernel", "dilation"), [((1, 1), 1), ((3, 3), 2)])
def test_gradients(kernel: tuple[int, int], dilation: int, dtype: torch.dtype, tolerance: float) -> None:
    leaves = [noise(2, 16, 3, 4), noise(2, 16, 18, 23, seed=1), noise(6, 48, *kernel, seed=2), noise(6, seed=3)]
    leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
    padding = tuple(dilation * (k - 1) // 2 for k in kernel)

    def gradients(context: contextlib.AbstractContextManager[object]) -> tuple[Tensor, ...]:
        coarse, fine, weight, bias = leaves
        with context:
            joined = torch.cat([up(coarse, 18, 23), fine, up(coarse * 2, 18, 23)], 1)
            out = F.conv2d(joined, weight, bias, 1, padding, dilation)
            out = out.sigmoid() + up(coarse[:, :6], 18, 23, True)
        return torch.autograd.grad(out.square().sum(), leaves)

    for found, expected in zip(gradients(Deferring()), gradients(contextlib.nullcontext()), strict=True):
        assert found.dtype == dtype
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_values_read_without_gradients_first_have_them_later() -> None:
    x = noise(1, 4, 5, 6).requires_grad_()
    with Deferring():
        resized, joined = up(x, 12, 14), torch.cat([up(x, 12, 14), noise(1, 4, 12, 14)], 1)
        with torch.no_grad():
            fixed = [resized * 1, joined * 1, up(x, 12, 14), torch.cat([resized, resized], 1)]
        assert [(value * 1).requires_grad for value in (resized, joined)] == [True, True]
        assert not any((value * 1).requires_grad for value in fixed)


@pytest.mark.parametrize("name", ["pspnet_r18_d8_512x1024_80k_cityscapes", "segformer_mit_b0_512x512_160k_ade20k"])
def test_networks(name: str) -> None:
    model = segzoo.load(name, pretrained=False)
    fill(model, {})
    x = noise(1, 3, 96, 160)
    with torch.inference_mode():
        found, expected = deferred(model.logits, x), model.logits(x)
    assert (found - expected).abs().max() <= 1e-4 * expected.std()
