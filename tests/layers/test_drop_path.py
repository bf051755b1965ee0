"""Stochastic depth: whole samples, in training only, with the mean kept."""

from __future__ import annotations

import pytest
import torch

from segzoo.layers.drop_path import DropPath, drop_path_rates


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    x = torch.randn(4, 3)
    assert torch.equal(DropPath(0.9).eval()(x), x)
    assert torch.equal(DropPath(0.0)(x), x)


def test_samples_are_dropped_whole_and_the_others_rescaled() -> None:
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert all(value in (0.0, pytest.approx(4 / 3)) for value in out.unique().tolist())
    first = out[:, 0, 0]
    assert torch.equal(out, first[:, None, None].expand_as(out))
    assert out.mean().item() == pytest.approx(1, abs=0.03)


def test_rates_grow_evenly_over_all_stages() -> None:
    assert drop_path_rates(0.3, [1, 3]) == [[0.0], pytest.approx([0.1, 0.2, 0.3])]
    assert drop_path_rates(0.3, [1]) == [[0.0]]
