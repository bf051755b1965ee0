"""Clocks: what is counted, and that no setting stays changed."""

from __future__ import annotations

import pytest
import torch

from segzoo.benchmark import timing

CPU = torch.device("cpu")


def test_the_first_calls_are_made_but_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    made: list[int] = []
    seconds = timing.timings(made.append, CPU, count=7, not_counted=2, progress=lambda: None)
    assert made == list(range(7))
    assert seconds == [1.0] * 5


def test_spread_has_the_quartiles_of_the_values() -> None:
    assert timing.spread([0.004, 0.001, 0.002, 0.003, 0.005], 1e3) == {"median": 3, "mean": 3, "q1": 2, "q3": 4}
    assert timing.spread([2.0]) == {"median": 2, "mean": 2, "q1": 2, "q3": 2}


@pytest.mark.parametrize("before", [True, False])
def test_cudnn_benchmark_is_off_and_put_back(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)

    def fail() -> None:
        with timing.as_published():
            assert torch.backends.cudnn.benchmark is False
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.backends.cudnn.benchmark is before
