"""What is measured: sizes as tested, options that cannot be used."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from segzoo.benchmark import conditions
from segzoo.benchmark.conditions import InferenceConditions, TrainingConditions, from_dict
from segzoo.errors import OptionError


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("pspnet_r50_d8_512x1024_40k_cityscapes", (1024, 2048)),  # not the crop, at which the index says it was
        ("pspnet_r50_d8_769x769_40k_cityscapes", (1025, 2049)),
        ("pspnet_r50_ade20k", (512, 683)),  # 2048 x 512 only bounds: a 4:3 picture stands for the test set's
    ],
)
def test_size_is_that_of_a_tested_picture(name: str, size: tuple[int, int]) -> None:
    assert conditions.tested_size(name) == size


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"images": 5}, "of 5 images, 5 cannot be left uncounted"),
        ({"not_counted": -1}, "uncounted"),
        ({"dtype": "float64"}, "'float64'"),
        ({"batch_sizes": (1, 0)}, "batch size is 1 or more"),
        ({"size": (0, 64)}, "size is 1 or more"),
    ],
)
def test_conditions_that_cannot_be_met_are_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        InferenceConditions(**{"name": "x", "size": (64, 64), **changes})


@pytest.mark.parametrize("kind", [InferenceConditions, TrainingConditions])
def test_conditions_go_through_json(kind: Any) -> None:
    made = kind("x", (64, 128), dtype="bfloat16")
    fields = json.loads(json.dumps(dataclasses.asdict(made)))
    assert from_dict(fields) == made
    with pytest.raises(OptionError, match="speed"):
        from_dict({**fields, "speed": 1})
