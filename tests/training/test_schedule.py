"""Learning rates by hand."""

from __future__ import annotations

import pytest

from segzoo.recipe import ScheduleSpec
from segzoo.training.schedule import lr_at

POLY = ScheduleSpec("poly", power=0.9, min_lr=1e-4)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01),
        (40000, (0.01 - 1e-4) * 0.5**0.9 + 1e-4),
        (79999, (0.01 - 1e-4) * (1 / 80000) ** 0.9 + 1e-4),
        (80000, 1e-4),
        (90000, 1e-4),
    ],
)
def test_poly_falls_to_its_minimum(step: int, expected: float) -> None:
    assert lr_at(POLY, 0.01, step, 80000) == pytest.approx(expected, rel=1e-12)


def test_poly_of_power_one_is_a_line() -> None:
    spec = ScheduleSpec("poly", power=1.0, min_lr=0.0)
    assert [lr_at(spec, 8.0, step, 4) for step in range(5)] == [8.0, 6.0, 4.0, 2.0, 0.0]


def test_a_rate_below_the_minimum_rises_to_it_as_published() -> None:
    assert lr_at(POLY, 1e-5, 0, 100) == pytest.approx(1e-5)
    assert lr_at(POLY, 1e-5, 100, 100) == pytest.approx(1e-4)


def test_steps_divide_the_rate_from_their_iteration_on() -> None:
    spec = ScheduleSpec("step", min_lr=0.0, steps=(60, 72))
    rates = [lr_at(spec, 1.0, step, 80) for step in (0, 59, 60, 71, 72, 79)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    floor = ScheduleSpec("step", min_lr=0.05, steps=(60, 72))
    assert lr_at(floor, 1.0, 79, 80) == 0.05


def test_a_constant_rate_stays() -> None:
    spec = ScheduleSpec("constant")
    assert lr_at(spec, 0.3, 0, 10) == lr_at(spec, 0.3, 9, 10) == 0.3


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("linear", [0.1, 0.1 + 0.9 * 0.25, 0.1 + 0.9 * 0.5, 1.0]),
        ("exponential", [0.1, 0.1**0.75, 0.1**0.5, 1.0]),
        ("constant", [0.1, 0.1, 0.1, 1.0]),
    ],
)
def test_warm_up_scales_the_falling_rate(kind: str, factors: list[float]) -> None:
    plain = ScheduleSpec("poly", power=1.0, min_lr=0.0)
    spec = ScheduleSpec("poly", power=1.0, min_lr=0.0, warmup=kind, warmup_iterations=40, warmup_ratio=0.1)  # type: ignore[arg-type]
    for step, factor in zip((0, 10, 20, 40), factors, strict=True):
        assert lr_at(spec, 2.0, step, 100) == pytest.approx(factor * lr_at(plain, 2.0, step, 100), rel=1e-12)
