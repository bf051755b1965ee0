"""The learning rate of every iteration: a function of nothing but the schedule, so that a resumed run goes on alike."""

from __future__ import annotations

from segzoo.recipe import ScheduleSpec

__all__ = ["lr_at"]


def lr_at(spec: ScheduleSpec, base_lr: float, step: int, iterations: int) -> float:
    """The learning rate of iteration ``step``, counted from 0, of ``iterations``.

    Args:
        spec: the policy.
        base_lr: the parameter group's own rate. As published, every group falls to the same ``min_lr``, even one
            that begins below it.
        step: at least 0; from ``iterations`` on, the rate stays where it ended.
        iterations: the length of the run.
    """
    rate = _regular(spec, base_lr, step, iterations)
    if spec.warmup is None or step >= spec.warmup_iterations:
        return rate
    left = 1 - step / spec.warmup_iterations
    if spec.warmup == "constant":
        return rate * spec.warmup_ratio
    if spec.warmup == "linear":
        return rate * (1 - left * (1 - spec.warmup_ratio))
    return float(rate * spec.warmup_ratio**left)


def _regular(spec: ScheduleSpec, base_lr: float, step: int, iterations: int) -> float:
    """The rate without warm-up; warm-up scales it, falling as it is."""
    if spec.policy == "poly":
        left = max(0.0, 1 - step / iterations)
        return float((base_lr - spec.min_lr) * left**spec.power + spec.min_lr)
    if spec.policy == "step":
        passed = sum(step >= boundary for boundary in spec.steps)
        return float(max(base_lr * spec.gamma**passed, spec.min_lr))
    return base_lr
