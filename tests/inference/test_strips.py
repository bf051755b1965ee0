"""Large maps computed in strips: the same values, each row about once, and only what is still of use in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segzoo
from benchmarks.parity import fill
from segzoo.inference import strips, winograd
from segzoo.inference.strips import Striped, Striping, striped
from segzoo.layers.deferred import Deferring
from segzoo.layers.lazy import made
from tests.inference.live import LiveTensors


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of 8 KiB are large, and strips are as thin as they may be."""
    monkeypatch.setattr(strips, "_LARGE", 8 << 10)
    monkeypatch.setattr(strips, "_STRIP", 1 << 10)
    monkeypatch.setattr(strips, "_SMALL_RUN", 0)
    monkeypatch.setattr(strips, "_POSITIONS", 1)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every operation that ran in strips."""
    found: list[int] = []
    run = strips._run

    def count(node: strips._Node, rows: dict[strips._Node, tuple[int, int]], *args: object, padded: bool) -> Tensor:
        found.append(rows[node][1] - rows[node][0])
        return run(node, rows, *args, padded=padded)  # type: ignore[arg-type]

    monkeypatch.setattr(strips, "_run", count)
    return found


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    expected = function(x.clone())
    found = striped(function, x.clone())
    assert type(found) is Tensor
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("height", [64, 67])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        (1, 1, 0, 1, 1),
        (3, 1, 1, 1, 1),
        (3, 2, 1, 1, 1),
        (3, 1, 2, 2, 8),
        (2, 2, 0, 1, 1),
        (1, 2, 0, 1, 1),
        (7, 2, 3, 1, 1),
        ((3, 1), 1, (1, 0), 1, 1),
        ((1, 3), 1, (0, 2), (1, 2), 1),
        (3, 1, 0, 1, 1),
    ],
)
def test_convolutions_one_after_the_other(
    kernel: int, stride: int, padding: int, dilation: int, groups: int, height: int, layout: torch.memory_format
) -> None:
    first = nn.Conv2d(8, 16, kernel, stride, padding, dilation, groups=groups)
    second = nn.Conv2d(16, 8, 3, padding=1)
    same(lambda x: second(first(x)), noise(2, 8, height, 40).to(memory_format=layout))


LOCAL: dict[str, Callable[[Tensor], Tensor]] = {
    "largest of a window, all of it negative": lambda x: F.max_pool2d(-x.exp(), 3, 2, 1),
    "largest of a dilated window": nn.MaxPool2d(3, 1, 1, dilation=2),
    "mean of a window, with what lies outside": lambda x: F.avg_pool2d(x + x, 3, 2, 1),
    "mean of a window, without it": lambda x: F.avg_pool2d(x + x, 3, 2, 1, count_include_pad=False),
    "windows rounded up": lambda x: F.max_pool2d(x + x, 2, 2, ceil_mode=True),
    "batch norm": nn.BatchNorm2d(8).eval(),
    "activations": lambda x: F.relu6(F.relu(x) + F.hardswish(x) * torch.sigmoid(x)),
    "a slope for each channel": nn.PReLU(8),
    "side by side": lambda x: torch.cat([F.relu(x), F.max_pool2d(x, 3, 1, 1), x], dim=1),
    "a factor for each channel": lambda x: F.relu(x) * x.mean((2, 3), keepdim=True),
    "a row for all rows": lambda x: F.relu(x) + x.mean(2, keepdim=True),
    "a single row": lambda x: F.relu(x).mean(2, keepdim=True) + 1,
    "dropout, which does nothing here": lambda x: nn.Dropout2d().eval()(F.relu(x)),
    "with a number": lambda x: 2 * F.relu(x) + 1,
    "not local": lambda x: F.relu(x).softmax(3).flatten(2),
}


@pytest.mark.parametrize("name", LOCAL)
def test_operations(name: str) -> None:
    same(LOCAL[name], noise(1, 8, 65, 40))


def test_a_tower_of_convolutions_computes_few_rows_twice(runs: list[int]) -> None:
    tower = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(12)))
    same(tower, noise(1, 8, 256, 8))
    assert 12 * 256 < sum(runs) < 1.25 * 12 * 256
    assert len(runs) > 12 * 4


def test_what_is_read_twice_is_computed_once(runs: list[int]) -> None:
    def branches(x: Tensor) -> Tensor:
        shared = F.relu(x)
        sums = [F.relu(shared), torch.sigmoid(shared)]
        del shared
        return sums[0].sum() + sums[1].sum()

    same(branches, noise(1, 8, 64, 64))
    assert sum(runs) == 3 * 64


def test_values_change_in_place_after_they_were_read() -> None:
    def of_a_dense_map(x: Tensor) -> Tensor:
        before = F.conv2d(x, weight, padding=1)
        x.relu_()
        return before + F.conv2d(x, weight, padding=1)

    def through_a_view(x: Tensor) -> Tensor:
        before = F.relu(x)
        x[:, :, :9].mul_(-1)
        return before + x

    def by_writing_into_it(x: Tensor) -> Tensor:
        before = F.relu(x)
        x[:, 0] = 0
        return before + x

    def of_a_map_that_is_not_computed(x: Tensor) -> Tensor:
        middle = x + x
        before = torch.sigmoid(middle)
        kept = F.relu(middle, inplace=True)
        assert kept is middle
        return before + middle

    def of_one_that_was(x: Tensor) -> Tensor:
        middle = x + x
        total = middle.sum()
        before = torch.sigmoid(middle)
        F.relu(middle, inplace=True)
        return before + middle + total

    def of_one_that_was_since(x: Tensor) -> Tensor:
        middle = x + x
        before = torch.sigmoid(middle)
        total = middle.sum()
        F.relu(middle, inplace=True)
        return before + middle + total

    def by_what_is_not_local(x: Tensor) -> Tensor:
        middle = x + x
        before = torch.sigmoid(middle)
        return before + F.silu(middle, inplace=True)

    def by_adding(x: Tensor) -> Tensor:
        middle = x + x
        before = torch.sigmoid(middle)
        middle += x
        return before + middle

    weight = noise(8, 8, 3, 3)
    for function in (
        of_a_dense_map, through_a_view, by_writing_into_it, of_a_map_that_is_not_computed, of_one_that_was,
        of_one_that_was_since, by_what_is_not_local, by_adding,
    ):  # fmt: skip
        same(function, noise(1, 8, 64, 40))


def test_small_maps_are_computed_at_once() -> None:
    with Striping():
        assert type(F.relu(noise(1, 8, 8, 8))) is Tensor
        large = F.relu(noise(1, 8, 64, 64))
        assert type(large) is Striped
        assert large.shape == (1, 8, 64, 64)
    assert (made([large])[0] == F.relu(noise(1, 8, 64, 64))).all()


def test_maps_between_never_stand_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_STRIP", 256 << 10)
    wide = nn.Sequential(
        nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 4, 1)
    )
    x = noise(1, 3, 256, 64)
    most = []
    for function in (wide, lambda x: striped(wide, x)):
        with LiveTensors() as live:
            function(x)
        most.append(live.peak)
    of_one_map = 4 * 64 * 128 * 32
    assert most[0] >= 2 * of_one_map
    assert most[1] < 0.6 * of_one_map


@pytest.mark.parametrize(
    "name",
    [
        "bisenetv2_fcn_cityscapes",
        "cgnet_680x680_60k_cityscapes",
        "deeplabv3plus_r18_d8_512x1024_80k_cityscapes",
        "erfnet_fcn_4x4_512x1024_160k_cityscapes",
        "fast_scnn_cityscapes",
        "stdc1_512x1024_80k_cityscapes",
        "fcn_unet_s5_d16_64x64_40k_drive",
    ],
)
def test_networks(name: str, runs: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_LARGE", 256 << 10)
    monkeypatch.setattr(strips, "_STRIP", 512 << 10)
    model = segzoo.load(name, pretrained=False).eval()
    fill(model, {}, {})
    same(model.logits, noise(1, 3, 128, 160))
    assert len(runs) > 20


def test_what_shrinks_does_not_keep_what_it_is_computed_from() -> None:
    """Each branch reads a map of its own, as after a convolution that is not done in strips, and gives a small one."""
    wide = [nn.Conv2d(64, 64, 3, padding=8, dilation=8, groups=64) for _ in range(4)]
    narrow = [nn.Conv2d(64, 4, 1) for _ in range(4)]
    x = noise(1, 64, 64, 64)

    def branches(x: Tensor) -> Tensor:
        return torch.cat([F.relu(small(Whole.apply(large(x)))) for large, small in zip(wide, narrow, strict=True)], 1)

    expected = branches(x)
    with LiveTensors() as live:
        found = striped(branches, x)
    assert (found - expected).abs().max() < 1e-5
    assert live.peak < 2.7 * x.nbytes  # one branch's map, the strips and the results; four would stand else


class Whole(torch.autograd.Function):
    """The same, by a function that is not known to be local."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()


def test_a_joined_map_of_resized_ones_is_convolved_in_groups_in_strips(runs: list[int]) -> None:
    weight, coarse, fine = noise(24, 1, 3, 3), noise(1, 16, 32, 32), noise(1, 8, 128, 64, seed=1)

    def decoder(x: Tensor) -> Tensor:
        up = F.interpolate(x, (128, 64), mode="bilinear", align_corners=False)
        return F.relu(F.conv2d(torch.cat([up, fine], 1), weight, None, 1, 1, 1, 24))

    expected = decoder(coarse)
    with Deferring():
        found = striped(decoder, coarse)
    assert (found - expected).abs().max() < 1e-5
    assert sum(runs) >= 3 * 128  # joined, convolved and rectified
    assert max(runs) < 64


def test_winograds_convolutions_get_as_many_rows_as_they_are_worth(runs: list[int]) -> None:
    weight = noise(256, 256, 3, 3).to(memory_format=torch.channels_last)
    x = noise(1, 256, 64, 64).to(memory_format=torch.channels_last)
    assert winograd.rows_at_a_time(x, weight, 1, 1) == 64
    wider = noise(1, 256, 128, 128).to(memory_format=torch.channels_last)
    assert winograd.rows_at_a_time(wider, weight, 1, 1) == 64
    found = striped(lambda x: F.relu(F.conv2d(x, weight, None, 1, 1)), wider)
    expected = F.relu(F.conv2d(wider, weight, None, 1, 1))
    assert runs == [64, 64] * 2
    assert (found - expected).abs().max() < 2e-5 * expected.abs().max()
