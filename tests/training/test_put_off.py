"""Enlargements are put off where that saves time, which changes the order of sums and nothing else."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from benchmarks.parity import fill
from segzoo.build import build
from segzoo.index import find
from segzoo.segmentor import Segmentor
from segzoo.training import compute, compute_losses, total_loss

PYRAMID, DECODER = "pspnet_r18_d8_512x1024_80k_cityscapes", "deeplabv3plus_r18_d8_512x1024_80k_cityscapes"


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 64, 96, generator=draw), torch.randint(0, 19, (2, 64, 96), generator=draw)


def step(name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Losses and gradients by name."""
    model = build(find(name), model_class=Segmentor, auxiliary=True)
    fill(model, {})
    model.train().to(dtype)
    images, labels = batch()
    torch.manual_seed(0)  # what is dropped
    losses = compute_losses(model, images.to(dtype), labels)
    total_loss(losses).backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert len(gradients) == len(list(model.parameters()))
    return {**losses, **gradients}


@pytest.mark.parametrize("name", [PYRAMID, DECODER, "stdc1_512x1024_80k_cityscapes"])
def test_losses_and_gradients_stay_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = step(name, torch.float64)
    monkeypatch.setattr(compute, "Deferring", contextlib.nullcontext)
    plain = step(name, torch.float64)
    assert found.keys() == plain.keys()
    assert any(not torch.equal(found[key], plain[key]) for key in plain)  # the order has changed
    whole = sum(float(value.detach().square().sum()) for value in plain.values()) ** 0.5
    for key, value in plain.items():
        assert (found[key] - value).norm() <= 1e-10 * value.norm() + 1e-14 * whole, key


def test_in_half_precision_nothing_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "Deferring", lambda: pytest.fail("put off"))
    model = build(find("fast_scnn_drawn_streets"), model_class=Segmentor)
    images, labels = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compute_losses(model, images, labels.clamp(max=12))
