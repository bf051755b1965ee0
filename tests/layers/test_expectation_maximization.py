from __future__ import annotations

import pytest
import torch
from torch import Tensor, distributed

from segzoo.layers.expectation_maximization import ExpectationMaximizationAttention


def steps(x: Tensor, bases: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """EM on the positions of one picture (C, L), a base at a time; the shares (L, K) and the bases (C, K)."""
    for _ in range(count):
        shares = torch.softmax(torch.einsum("cl,ck->lk", x, bases), dim=1)
        new = [(x * (shares[:, k] / shares[:, k].sum())).sum(1) for k in range(bases.shape[1])]
        bases = torch.stack([base / base.norm() for base in new], dim=1)
    return shares, bases


def test_one_step_by_hand() -> None:
    layer = ExpectationMaximizationAttention(2, num_bases=2, num_stages=1).eval()
    layer.bases = torch.eye(2).reshape(1, 2, 2)
    # Two positions, each of one channel: with a score of ln 3 its own base takes 3/4 of it.
    x = torch.eye(2).mul(3.0).log1p().mul(torch.log(torch.tensor(3.0)) / torch.log(torch.tensor(4.0)))
    out = layer(x.reshape(1, 2, 1, 2))
    own, other = 0.75 / (0.75**2 + 0.25**2) ** 0.5, 0.25 / (0.75**2 + 0.25**2) ** 0.5
    near, far = 0.75 * own + 0.25 * other, 0.75 * other + 0.25 * own
    torch.testing.assert_close(out, torch.tensor([[near, far], [far, near]]).reshape(1, 2, 1, 2))


def test_equals_the_steps_written_out() -> None:
    torch.manual_seed(0)
    layer = ExpectationMaximizationAttention(5, num_bases=3, num_stages=3).eval()
    x = torch.randn(2, 5, 3, 4)
    expected = []
    for picture in x.flatten(2):
        shares, bases = steps(picture, layer.bases[0], 3)
        expected.append(torch.einsum("ck,lk->cl", bases, shares))
    torch.testing.assert_close(layer(x), torch.stack(expected).view_as(x))


def test_bases_follow_in_training_only() -> None:
    torch.manual_seed(0)
    layer = ExpectationMaximizationAttention(5, num_bases=3, num_stages=2, momentum=0.25)
    x, before = torch.randn(2, 5, 3, 4), layer.bases.clone()
    layer.eval()(x)
    assert torch.equal(layer.bases, before)
    out = layer.train()(x)
    mean = torch.stack([steps(picture, before[0], 2)[1] for picture in x.flatten(2)]).mean(0)
    expected = 0.75 * before + 0.25 * (mean / mean.norm(dim=0))
    torch.testing.assert_close(layer.bases, expected)
    assert not out.requires_grad
    assert list(layer.state_dict()) == ["bases"]
    assert not list(layer.parameters())


def test_bases_start_at_unit_length() -> None:
    layer = ExpectationMaximizationAttention(16, num_bases=4, num_stages=1)
    torch.testing.assert_close(layer.bases.norm(dim=1), torch.ones(1, 4))


def test_processes_share_the_mean_of_their_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = ExpectationMaximizationAttention(5, num_bases=3, num_stages=1, momentum=1.0)
    here, there = torch.randn(1, 5, 3), torch.randn(1, 5, 3)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.add_(there))
    layer.follow(here)
    torch.testing.assert_close(layer.bases, torch.nn.functional.normalize((here + there) / 2, dim=1))


def test_half_precision_keeps_the_bases_in_float32() -> None:
    torch.manual_seed(0)
    layer = ExpectationMaximizationAttention(5, num_bases=3, num_stages=2)
    with torch.autocast("cpu", dtype=torch.float16):
        out = layer(torch.full((1, 5, 32, 32), 50.0).half())
    assert out.dtype == torch.float16
    assert out.isfinite().all()
    assert layer.bases.dtype == torch.float32
