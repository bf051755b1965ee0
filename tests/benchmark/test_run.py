"""A run over the zoo: resumable, with a row for every job, whatever became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import run as zoo
from segzoo import records, tables
from segzoo.benchmark import processes
from segzoo.benchmark.conditions import InferenceConditions
from segzoo.benchmark.processes import Outcome
from segzoo.cli import main
from segzoo.datasets.drawn_streets import write
from segzoo.tables.zoo import zoo_table

NAMES = ["bisenetv2_fcn_4x4_1024x1024_160k_cityscapes", "erfnet_fcn_4x4_512x1024_160k_cityscapes"]
OPTIONS = ["--device", "cpu", "--images", "8"]


def speed(name: str, fps: float) -> dict[str, Any]:
    return {
        "kind": "speed",
        "entry": name,
        "input_size": [1024, 2048],
        "dtype": "float32",
        "as_tested": True,
        "definition": "model-zoo",
        "mode": "whole",
        "fps": fps,
        "ms": {"median": 1.0, "mean": 1.0, "q1": 1.0, "q3": 1.0},
        "images": 8,
        "not_counted": 5,
        "environment": records.environment("cpu"),
    }


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were measured; the second entry's process dies after its first figure, until it is mended."""
    names: list[str] = []

    def measure(conditions: InferenceConditions, **_: Any) -> Outcome:
        names.append(conditions.name)
        broken = conditions.name == NAMES[1] and names.count(NAMES[1]) == 1
        return Outcome([] if broken else [speed(conditions.name, 12.5)], "killed by signal 9" if broken else None)

    monkeypatch.setattr(processes, "measure", measure)
    return names


def test_a_crash_costs_one_row_and_a_run_goes_on(tmp_path: Path, measured: list[str], capsys: Any) -> None:
    log = tmp_path / "zoo.jsonl"
    command = [*NAMES, *OPTIONS, "--log", str(log)]
    assert zoo.main(command) == 1
    printed = capsys.readouterr()
    assert "1 done, 0 done before, 1 failed" in printed.out
    assert f"{NAMES[1]}, inference: killed by signal 9" in printed.err
    assert [record["kind"] for record in records.read([log])] == ["speed", "failure"]

    assert zoo.main(command) == 0  # neither is done again: the failure stands until it is asked for
    assert "0 done, 2 done before, 0 failed" in capsys.readouterr().out
    assert zoo.main([*command, "--retry"]) == 0
    assert "1 done, 1 done before, 0 failed" in capsys.readouterr().out
    assert measured == [*NAMES, NAMES[1]]
    assert zoo.main([*command[:-4], "--images", "9", "--log", str(log)]) == 0  # other conditions are other jobs
    assert len(measured) == 5


def test_failures_stand_in_the_table_until_something_newer(tmp_path: Path, measured: list[str]) -> None:
    log = tmp_path / "zoo.jsonl"
    zoo.main([*NAMES, *OPTIONS, "--log", str(log)])
    logs = tables.read_logs(tmp_path)
    (grid,) = [grid for grid in zoo_table(logs) if any(NAMES[1] in row[1] for row in grid.rows)]
    cells = dict(zip(grid.header, grid.rows[0], strict=True))
    assert cells["Inf time (fps), measured"] == "failed"
    assert any("inference failed: killed by signal 9" in note for note in grid.notes)
    zoo.main([*NAMES, *OPTIONS, "--log", str(log), "--retry"])
    assert tables.read_logs(tmp_path).speed[NAMES[1], "model-zoo"]["fps"] == 12.5


def test_what_was_interrupted_within_a_job_is_done_again() -> None:
    job = InferenceConditions(NAMES[0], (1024, 2048))
    half = {**speed(NAMES[0], 1.0), "job": zoo.describe(job), "last": False}
    assert zoo.plan([job], [half], retry=False) == [job]
    assert zoo.plan([job], [half, {**half, "last": True}], retry=False) == []


def test_an_evaluation_is_a_job_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command line is run here in this process."""
    assert len(list(write(tmp_path / "streets", train=0, val=2, size=(64, 128)))) == 2
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(processes, "measure", lambda *_, **__: Outcome([], "not asked for"))

    def run(command: list[str], **_: Any) -> str | None:
        return None if main(command[3:]) == 0 else "failed"

    monkeypatch.setattr(processes, "run", run)
    log = tmp_path / "zoo.jsonl"
    name = "fast_scnn_drawn_streets"
    zoo.main([name, "--device", "cpu", "--data", str(tmp_path / "streets"), "--log", str(log)])
    failed, accuracy = records.read([log])
    assert (failed["kind"], accuracy["kind"], accuracy["pictures"]) == ("failure", "accuracy", 2)
    assert accuracy["job"]["work"] == "accuracy"


def test_wrong_options_are_told_before_anything_runs(tmp_path: Path, measured: list[str], capsys: Any) -> None:
    assert zoo.main(["no_such_model*", "--device", "cpu"]) == 2
    assert "no model's name fits 'no_such_model*'" in capsys.readouterr().err
    assert zoo.main([*NAMES, "--images", "3", "--device", "cpu", "--log", str(tmp_path / "x.jsonl")]) == 2
    assert measured == []
