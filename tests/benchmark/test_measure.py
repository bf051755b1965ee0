"""Measurements of small models at small sizes: every record is there, is sound, and says what was measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import segzoo
from segzoo import records
from segzoo.benchmark import cost, inference, training
from segzoo.benchmark.conditions import InferenceConditions, TrainingConditions
from segzoo.index import find
from segzoo.inference import engine
from segzoo.inference.options import resolve
from segzoo.inference.predictor import predict_bands

WHOLE = "fast_scnn_drawn_streets"
SLIDING = "fcn_unet_s5_d16_64x64_40k_drive"


def small(name: str, **changes: Any) -> InferenceConditions:
    fields: dict[str, Any] = {"size": (64, 96), "images": 4, "not_counted": 1, "batch_sizes": (1, 2), **changes}
    return InferenceConditions(name, **fields)


@pytest.fixture(scope="module")
def measured() -> list[dict[str, Any]]:
    return list(inference.measure(small(WHOLE)))


def test_every_kind_of_figure_is_taken_once(measured: list[dict[str, Any]]) -> None:
    for record in measured:
        records.validate(record)
    kinds = Counter((record["kind"], record.get("definition") or record.get("batch_size")) for record in measured)
    assert set(kinds) == {
        ("first_call", None),
        ("memory", None),
        ("speed", "model-zoo"),
        ("speed", "with-transfer"),
        ("throughput", 1),
        ("throughput", 2),
        ("cost", None),
    }
    assert set(kinds.values()) == {1}


def test_a_record_says_what_was_measured(measured: list[dict[str, Any]]) -> None:
    for record in measured:
        assert (record["entry"], record["input_size"], record["dtype"]) == (WHOLE, [64, 96], "float32")
        assert (record["mode"], record["as_tested"]) == ("whole", False)
        if record["kind"] != "cost":
            assert (record["prepared"], record["weights"]) == (False, "random")
    speed = next(record for record in measured if record["kind"] == "speed")
    assert (speed["images"], speed["not_counted"], speed["batch_size"]) == (4, 1, 1)
    assert speed["fps"] == pytest.approx(1000 / speed["ms"]["mean"], rel=1e-4)


def test_memory_of_a_cpu_is_the_process_s_under_its_own_name(measured: list[dict[str, Any]]) -> None:
    (memory,) = (record for record in measured if record["kind"] == "memory")
    assert memory["measure"] == "peak_resident_set"
    assert memory["bytes"] >= memory["bytes_before_the_model"] > 10 * 2**20


def test_the_weights_are_named_when_they_are_published_ones() -> None:
    record = next(inference.measure(small(WHOLE, pretrained=True)))
    assert record["weights"] == find(WHOLE).weights.sha256


@pytest.mark.parametrize(("name", "crop"), [(WHOLE, None), (WHOLE, (48, 64))])
def test_the_model_zoo_s_region_computes_the_prediction(name: str, crop: tuple[int, int] | None) -> None:
    """What is timed from the normalised picture on gives the labels that predict gives."""
    subject = inference._subject(small(name, pretrained=True))
    if crop:
        object.__setattr__(subject, "options", resolve(find(name), 13, mode="slide", crop_size=crop, resize=None))
    picture, _ = segzoo_street()
    seen: list[np.ndarray] = []

    def keep(views: Any, threshold: Any) -> Any:
        bands = [band for _, band in original(views, threshold)]
        seen.append(torch.cat(bands).numpy())
        return iter(())

    original, engine_bands = engine.bands_on_device, "bands_on_device"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference._Subject, "picture", lambda self, number: picture)
        patch.setattr(inference.engine, engine_bands, keep)
        inference._model_zoo(subject, inference._common(subject), lambda _: None)
    expected = np.concatenate([band for _, band in predict_bands(subject.model, picture, subject.options)])
    assert len(np.unique(expected)) > 2
    assert (seen[0] == expected).mean() > 0.999  # the picture is normalised in another order of rounding


def segzoo_street() -> tuple[np.ndarray, np.ndarray]:
    from segzoo.datasets.drawn_streets import draw

    return draw(5, (64, 96))


def test_a_sliding_protocol_slides() -> None:
    """64 x 64 windows every 42 x 42 pixels, as published for this entry, on 64 x 148: three of them."""
    one, three = (cost.measure(SLIDING, size) for size in ((64, 64), (64, 148)))
    assert (one["windows"], three["windows"]) == (1, 3)
    assert three["flops"] == 3 * one["flops"]
    assert not one["as_tested"]
    assert one["mode"] == "slide"


def test_operations_are_those_of_the_layers() -> None:
    """Tensors without values count what real ones do; a 1x1 convolution of c channels to k at n places: 2 n c k."""
    counted = {}
    for classes in (13, 14):
        model = segzoo.load(WHOLE, pretrained=False, num_classes=classes)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model.logits(torch.zeros(1, 3, 64, 128))
        counted[classes] = counter.get_total_flops()
    record = cost.measure(WHOLE, (64, 128))
    assert record["flops"] == counted[13]
    assert record["parameters"] == cost.parameters(segzoo.load(WHOLE, pretrained=False))
    channels = segzoo.load(WHOLE, pretrained=False).decode_head.conv_seg.in_channels
    assert counted[14] - counted[13] == 2 * channels * (64 // 8) * (128 // 8)


def test_a_training_step_is_measured() -> None:
    conditions = TrainingConditions(WHOLE, (64, 96), batch_size=2, iterations=3, not_counted=1)
    found = list(training.measure(conditions))
    for record in found:
        records.validate(record)
    speed, memory = found
    assert speed["kind"] == "training_speed"
    assert speed["seconds_per_iteration"] == pytest.approx(speed["s"]["mean"], rel=1e-4)
    assert (speed["batch_size"], speed["iterations"]) == (2, 3)
    assert (memory["work"], memory["measure"]) == ("training", "peak_resident_set")
