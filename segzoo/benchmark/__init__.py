"""Speed, memory and cost of models, by the definitions of the published tables and by those that engineers ask for.

``segzoo benchmark`` measures each entry in a process of its own (:mod:`segzoo.benchmark.processes`), so that the first
call is a first call, the peak of memory is this model's, and a crash costs one entry. Figures become records
(:mod:`segzoo.records`); nothing here writes a table.
"""

from __future__ import annotations

from segzoo.benchmark.conditions import InferenceConditions, TrainingConditions, tested_size

__all__ = ["InferenceConditions", "TrainingConditions", "tested_size"]
