"""What ``segzoo train --tensorboard`` writes is what the log holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segzoo import records
from segzoo.cli import main
from tests.training.streets import NAME, write_folder

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """By name, the values that TensorBoard reads, by step."""
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


def logged(path: Path) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for record in records.read([path]):
        values: dict[str, Any] = {f"val/{name}": value for name, value in record.get("metrics", {}).items()}
        if record["kind"] == "training":
            values = {"loss": record["loss"], "lr": record["lr"]}
            values |= {f"train/{name}": value for name, value in record["losses"].items()}
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, {})[record["iteration"]] = value
    return found


def test_the_events_are_those_of_the_log(tmp_path: Path) -> None:
    data, run = write_folder(tmp_path / "data"), tmp_path / "run"
    argv = ["train", NAME, "--data", str(data), "--dataset", "folder", "--out", str(run), "--device", "cpu"]
    argv += ["--set", "augmentation.crop_size=[64,64]", "--iterations", "2", "--batch", "2", "--workers", "0"]
    assert main([*argv, "--log-every", "1", "--evaluate-every", "2", "--tensorboard"]) == 0
    events, expected = scalars(run / "tensorboard"), logged(run / "log.jsonl")
    assert sorted(events["loss"]) == [1, 2]
    assert any(name.startswith("val/") for name in events)
    assert events.keys() == expected.keys()
    for name, values in expected.items():
        assert events[name] == pytest.approx(values, rel=1e-6)  # events are float32
