"""Prepared models: what is folded, what is not, and that nothing else changes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import segzoo
from benchmarks.parity import fill
from segzoo.errors import OptionError, SegzooError
from segzoo.index import Protocol
from segzoo.inference import OptimizedModel, optimize, optimized, predict
from segzoo.inference.folding import fold, watch
from tests.inference.plain import Tiny, picture

WHOLE = Protocol((120.0,) * 3, (50.0,) * 3, scale=(128, 64))


def lively(module: nn.Module) -> nn.Module:
    """Batch norms of statistics that matter."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            if norm.affine:
                norm.weight.data.uniform_(0.5, 2, generator=generator)
                norm.bias.data.normal_(generator=generator)
    return module.eval()


class Cases(nn.Module):
    """Batch norms that may be folded, and others that look as if they might."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.plain_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.row = nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.BatchNorm2d(8, affine=False), nn.ReLU(inplace=True))
        self.read_twice, self.read_twice_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.shared, self.norm_a, self.norm_b = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.through_relu, self.relu_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.one_norm_of_two, self.left, self.right = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.alone = nn.BatchNorm2d(8)
        self.joined, self.joined_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(16)
        self.up, self.down, self.both_norm = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 4, 1, bias=False), nn.BatchNorm2d(12)
        self.one, self.other, self.seen_norm = nn.Conv2d(12, 6, 1), nn.Conv2d(12, 6, 1), nn.BatchNorm2d(12)
        self.twice, self.twice_norm = nn.Conv2d(12, 8, 1), nn.BatchNorm2d(16)
        self.returned, self.returned_norm = nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.row(self.plain_norm(self.plain(x)))
        y = self.read_twice(x)
        x = self.read_twice_norm(y) + y
        x = self.norm_a(self.shared(x)) + self.norm_b(self.shared(x))
        x = self.relu_norm(torch.relu(self.through_relu(x)))
        x = self.one_norm_of_two(self.left(x)) + self.one_norm_of_two(self.right(x))
        x = self.alone(x)
        x = self.joined_norm(torch.cat([self.joined(x), x], 1))
        x = self.both_norm(torch.cat([self.up(x), self.down(x)], 1))
        y = torch.cat([self.one(x), self.other(x)], 1)
        x = self.seen_norm(y) + y
        x = self.twice_norm(torch.cat([self.twice(x), self.twice(x + 1)], 1))
        z = self.returned(x)
        return self.returned_norm(z), z


def test_only_what_is_safe_is_folded() -> None:
    model = lively(Cases())
    x = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    before = model(x)
    pairs = watch(model, model, x)
    names = {module: name for name, module in model.named_modules()}
    found = {names[norm]: tuple(names[source] for source in sources) for norm, sources in pairs.items()}
    assert found == {"plain_norm": ("plain",), "row.1": ("row.0",), "both_norm": ("up", "down")}
    assert fold(model, pairs) == 3
    assert isinstance(model.plain_norm, nn.Identity)
    for found, expected in zip(model(x), before, strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["fast_scnn_cityscapes", "pspnet_r18_d8_512x1024_80k_cityscapes"])
def test_networks_compute_the_same(name: str) -> None:
    model = segzoo.load(name, pretrained=False)
    fill(model, {})
    kept = copy.deepcopy(model.state_dict())
    model.train()
    ready = optimize(model)
    assert model.training
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    model.eval()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert ready.report.folded == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    x = torch.randn(1, 3, 128, 256, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = model(x)
        assert (ready(x) - expected).abs().max() < 1e-4 * expected.std()
    image = picture(96, 200)
    ours, theirs = predict(ready, image, resize=None), predict(model, image, resize=None)
    assert (ours.mask == theirs.mask).mean() > 0.999
    assert ready.predict(image, resize=None).classes == model.classes


def test_what_was_done_is_told() -> None:
    ready = optimize(Tiny(WHOLE), channels_last=True)
    done = "resizes put off, large maps in strips, channels last, float32; logits moved by"
    assert repr(ready).startswith(f"OptimizedModel({ready.entry.name}: {done}")
    assert "took" in repr(ready)
    assert 0 <= ready.report.change < 1e-5
    assert ready.report.seconds > 0
    assert "channels last" not in repr(optimize(Tiny(WHOLE), channels_last=False))
    assert isinstance(optimize(Tiny(WHOLE)).report.channels_last, bool)


def test_wide_convolutions_count_for_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they gain by Winograd's algorithm on pictures does not show on a small sample."""
    monkeypatch.setattr(optimized, "_gain_of_channels_last", lambda *_: (0.8, 1.0))
    wide = segzoo.load("pspnet_r18_d8_512x1024_80k_cityscapes", pretrained=False)
    assert optimize(wide).report.channels_last
    assert not optimize(wide, dtype=torch.bfloat16).report.channels_last
    assert not optimize(Tiny(WHOLE)).report.channels_last
    monkeypatch.setattr(optimized, "_gain_of_channels_last", lambda *_: (0.5, 1.0))
    assert not optimize(wide).report.channels_last


@pytest.mark.parametrize("channels_last", [False, True])
def test_layouts_give_the_same_labels(channels_last: bool) -> None:
    model, image = Tiny(WHOLE), picture(70, 140)
    ready = optimize(model, channels_last=channels_last)
    assert (predict(ready, image).mask == predict(model, image).mask).mean() > 0.999
    weight = ready.network.backbone.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_lower_precision() -> None:
    model, image = Tiny(WHOLE), picture(70, 140)
    ready = optimize(model, dtype=torch.bfloat16)
    assert 1e-4 < ready.report.change < 0.1
    assert "bfloat16" in repr(ready)
    result = predict(ready, image, probabilities=True)
    assert result.probabilities.dtype == np.float32
    assert (result.mask == predict(model, image).mask).mean() > 0.9
    with pytest.raises(OptionError, match="float64"):
        optimize(model, dtype=torch.float64)


def test_it_cannot_be_trained_and_survives_predict() -> None:
    ready = optimize(Tiny(WHOLE))
    with pytest.raises(OptionError, match="cannot be trained"):
        ready.train()
    assert ready.eval() is ready
    predict(ready, picture(30, 40))
    assert not any(module.training for module in ready.modules())
    assert isinstance(copy.deepcopy(ready), OptimizedModel)


def test_a_changed_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: nn.Module, pairs: object) -> int:
        model.second.bias.data += 1
        return 0

    monkeypatch.setattr("segzoo.inference.optimized.fold", wrong)
    with pytest.raises(SegzooError, match="logits changed"):
        optimize(Tiny(WHOLE))
