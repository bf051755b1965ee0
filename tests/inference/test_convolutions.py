"""Convolutions computed in other ways than the library's: the same sums, chosen where they are faster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segzoo
from benchmarks.parity import fill
from segzoo.inference import convolutions, depthwise, winograd
from segzoo.inference.convolutions import Convolving, another_way
from segzoo.layers.deferred import Deferring
from segzoo.layers.lazy import made

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rounding(found: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any) -> float:
    """The root mean square of what ``found`` is off by, over that of the exact convolution."""
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), *args)
    assert found.shape == expected.shape
    return ((found - expected).square().mean() / expected.square().mean()).sqrt().item()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("size", "padding", "dilation"),
    [
        ((8, 12), 1, 1),  # whole tiles
        ((9, 7), 1, 1),
        ((3, 3), 0, 1),  # one position
        ((13, 10), 0, 1),
        ((1, 2), 1, 1),
        ((11, 6), (2, 0), 1),
        ((10, 11), 5, 1),
        ((16, 24), 2, 2),
        ((21, 17), 4, 4),
        ((7, 9), 12, 12),
        ((14, 15), 1, 3),
    ],
)
def test_winograd_computes_the_convolution(
    size: tuple[int, int], padding: int | tuple[int, int], dilation: int, layout: torch.memory_format
) -> None:
    x = noise(2, 19, *size).to(memory_format=layout)
    weight, bias = noise(5, 19, 3, 3, seed=1), noise(5, seed=2)
    found = winograd.convolve(x, weight, bias, padding, dilation)
    assert rounding(found, x, weight, bias, 1, padding, dilation) < 3e-6
    assert found.is_contiguous(memory_format=layout)
    without = winograd.convolve(x, weight.to(memory_format=torch.channels_last), None, padding, dilation)
    assert rounding(without, x, weight, None, 1, padding, dilation) < 3e-6


@pytest.mark.parametrize(("tiles", "channels"), [(1, 64), (8, 7), (9, 19), (64, 1)])
def test_winograd_in_parts(tiles: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_TILES", tiles)
    monkeypatch.setattr(winograd, "_CHANNELS", channels)
    x, weight = noise(1, 19, 27, 22).to(memory_format=torch.channels_last), noise(6, 19, 3, 3, seed=1)
    for dilation in (1, 2):
        found = winograd.convolve(x, weight, None, dilation, dilation)
        assert rounding(found, x, weight, None, 1, dilation, dilation) < 3e-6


def test_winograd_of_small_integers_is_exact_by_hand() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    weight = torch.arange(1.0, 10).view(1, 1, 3, 3)
    found = winograd.convolve(x, weight, torch.tensor([10.0]), 1, 1)
    expected = torch.full((5, 5), 10.0)
    expected[1:4, 1:4] += torch.tensor([[9.0, 8, 7], [6, 5, 4], [3, 2, 1]])
    assert torch.allclose(found[0, 0], expected, atol=1e-5)


def test_winograd_rounds_about_as_the_library_does() -> None:
    x, weight = noise(1, 512, 32, 32).relu(), noise(64, 512, 3, 3, seed=1)
    ours = rounding(winograd.convolve(x, weight, None, 1, 1), x, weight, None, 1, 1)
    library = rounding(F.conv2d(x, weight, None, 1, 1), x, weight, None, 1, 1)
    assert library < ours < min(8 * library, 3e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 7)])
@pytest.mark.parametrize("dilation", [8, 12, 36, (9, 20)])
@pytest.mark.parametrize("size", [(20, 30), (64, 11), (3, 4)])
def test_depthwise_computes_the_convolution(
    size: tuple[int, int], dilation: int | tuple[int, int], kernel: tuple[int, int], layout: torch.memory_format
) -> None:
    x = noise(2, 6, *size).to(memory_format=layout)
    weight, bias = noise(6, 1, *kernel, seed=1), noise(6, seed=2)
    steps = (dilation, dilation) if isinstance(dilation, int) else dilation
    padding = tuple(step * (k - 1) // 2 for step, k in zip(steps, kernel, strict=True))
    assert depthwise.pays(x, weight, 1, padding, dilation, 6)
    for offset in (bias, None):
        found = depthwise.convolve(x, weight, offset, padding, dilation)
        assert rounding(found, x, weight, offset, 1, padding, dilation, 6) < 1e-6
    assert found.is_contiguous(memory_format=layout)


WIDE = ((1, 256, 64, 128), (256, 256, 3, 3))


@pytest.mark.parametrize(
    ("x", "weight", "arguments", "way"),
    [
        (*WIDE, {"padding": 1}, winograd.convolve),
        (*WIDE, {"padding": 2, "dilation": 2}, winograd.convolve),
        (*WIDE, {"padding": 1, "stride": 2}, None),
        (*WIDE, {"padding": (2, 1), "dilation": (2, 1)}, None),
        (*WIDE, {"padding": "same"}, None),
        ((1, 512, 64, 128), (512, 256, 3, 3), {"padding": 1, "groups": 2}, None),
        ((1, 256, 64, 128), (256, 256, 5, 5), {"padding": 2}, None),
        ((1, 256, 64, 128), (256, 256, 1, 1), {}, None),
        ((1, 256, 2, 2), (256, 256, 3, 3), {}, None),  # nothing comes of it
        ((1, 2048, 64, 128), (512, 2048, 3, 3), {"padding": 1}, winograd.convolve),
        ((1, 512, 8, 8), (512, 512, 3, 3), {"padding": 1}, None),  # the weights' transform is most of it
        ((1, 64, 128, 256), (64, 64, 3, 3), {"padding": 1}, None),  # the maps' transforms are
        ((1, 512, 33, 33), (512, 512, 3, 3), {"padding": 36, "dilation": 36}, None),  # tiles stand mostly empty
        ((1, 64, 30, 30), (64, 1, 3, 3), {"padding": 12, "dilation": 12, "groups": 64}, depthwise.convolve),
        ((1, 64, 30, 30), (64, 1, 3, 3), {"padding": 6, "dilation": 6, "groups": 64}, None),
        ((1, 64, 30, 30), (128, 1, 3, 3), {"padding": 12, "dilation": 12, "groups": 64}, None),
        ((1, 64, 30, 30), (64, 1, 3, 3), {"padding": 12, "dilation": 12, "groups": 64, "stride": 2}, None),
        ((1, 64, 30, 30), (64, 1, 3, 3), {"dilation": 12, "groups": 64}, None),
    ],
)
def test_the_way_that_is_faster(
    x: tuple[int, ...], weight: tuple[int, ...], arguments: dict[str, Any], way: object
) -> None:
    channels_last = torch.empty(weight).to(memory_format=torch.channels_last)
    assert another_way(torch.empty(x), channels_last, **arguments) is way


def test_only_float32_on_cpus_without_gradients() -> None:
    x, weight = torch.empty(WIDE[0]), torch.empty(WIDE[1]).to(memory_format=torch.channels_last)
    assert another_way(x, weight, padding=1) is not None
    assert another_way(x, weight.contiguous(), padding=1) is None  # copies between layouts take what is gained
    assert another_way(x.bfloat16(), weight.bfloat16(), padding=1) is None
    assert another_way(x.double(), weight.double(), padding=1) is None
    assert another_way(x.to("meta"), weight.to("meta"), padding=1) is None
    assert another_way(x[0], weight, padding=1) is None
    with torch.inference_mode(False), torch.enable_grad():
        learned = nn.Parameter(torch.empty(WIDE[1]).to(memory_format=torch.channels_last))
        assert another_way(torch.empty(WIDE[0]), learned, padding=1) is None
        with torch.no_grad():
            assert another_way(torch.empty(WIDE[0]), learned, padding=1) is not None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The weights' shapes of what was computed by Winograd's algorithm; it is, wherever it can be."""
    monkeypatch.setattr(winograd, "_LEAST_GAIN", 0.0)
    found: list[tuple[int, ...]] = []
    convolve = winograd.convolve

    def count(x: Tensor, weight: Tensor, *args: Any) -> Tensor:
        found.append(tuple(weight.shape))
        return convolve(x, weight, *args)

    monkeypatch.setattr(winograd, "convolve", count)
    return found


def test_what_remains_of_a_convolution_of_resized_maps_is_computed_so(calls: list[tuple[int, ...]]) -> None:
    weight = noise(8, 48, 3, 3).to(memory_format=torch.channels_last)
    coarse, fine = noise(1, 16, 3, 3, seed=1), noise(1, 16, 24, 24, seed=2)

    def joined() -> Tensor:
        up = F.interpolate(coarse, (24, 24), mode="bilinear", align_corners=False)
        return F.conv2d(torch.cat([fine, up, fine], 1), weight, noise(8), 1, 1)

    expected = joined()
    with Convolving(), Deferring():
        found = made(joined())
    assert calls == [(8, 16, 3, 3)] * 2
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["pspnet_r18_d8_512x1024_80k_cityscapes", "upernet_r18_512x1024_40k_cityscapes"])
def test_prepared_networks(name: str, calls: list[tuple[int, ...]]) -> None:
    model = segzoo.load(name, pretrained=False).eval()
    fill(model, {})
    x = noise(1, 3, 128, 160)
    ready = model.optimize(channels_last=True)
    calls.clear()
    expected, found = model.logits(x), ready.logits(x.to(memory_format=torch.channels_last))
    assert (found - expected).abs().max() < 1e-4 * expected.std()
    eligible = [
        m for m in ready.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.stride == (1, 1)
    ]
    assert 12 <= len(calls) <= 4 * len(eligible)
    assert ready.report.winograd > 0
    assert "by Winograd's algorithm on large maps" in repr(ready)


def test_other_functions_pass() -> None:
    x = noise(1, 3, 8, 8)
    with Convolving():
        assert (F.relu(x) == x.clamp(0)).all()
        assert torch.allclose(F.conv2d(x, noise(4, 3, 3, 3)), F.conv2d(input=x, weight=noise(4, 3, 3, 3)))
    assert convolutions.convolving(torch.neg, x).equal(-x)
