"""Published training logs: made ones, in the published format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segzoo import records, tables
from segzoo.cli import main
from segzoo.errors import OptionError
from segzoo.tables.training_log import TrainingLogError, read_training_log

ENTRY = "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"
NAME = "fastfcn_r50-d32_jpu_psp_512x1024_80k_cityscapes_20210928_053722.log.json"  # of the entry's published log
START = {"env_info": "sys.platform: linux", "seed": 0}


def train(iteration: int, seconds: float, memory: int = 5800) -> dict[str, Any]:
    return {
        "mode": "train",
        "epoch": 1,
        "iter": iteration,
        "lr": 0.01,
        "memory": memory,
        "data_time": 0.01,
        "decode.loss_seg": 0.5,
        "time": seconds,
    }


def val(miou: float) -> dict[str, Any]:
    return {
        "mode": "val",
        "epoch": 1,
        "iter": 63,
        "lr": 0.01,
        "aAcc": 0.96,
        "mIoU": miou,
        "mAcc": 0.85,
        "IoU.road": 0.9,
    }


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_figures_of_a_log(tmp_path: Path) -> None:
    """The first interval after each start is slow and does not count; the last validation and the most memory do."""
    lines = [START, train(50, 9.0), train(100, 0.40), train(150, 0.42), val(0.7513)]
    lines += [START, train(200, 8.0), train(250, 0.41, memory=5806), train(300, 0.43), val(0.7926)]
    record = read_training_log(write(tmp_path / NAME, *lines))
    records.validate(record)
    assert record["entry"] == ENTRY
    assert record["source"].endswith(NAME)
    assert record["iterations"] == 300
    assert record["memory_mb"] == 5806
    assert record["seconds_per_iteration"] == pytest.approx(0.415)
    assert record["metrics"] == {"mIoU": 79.26, "mAcc": 85.0, "aAcc": 96.0, "iteration": 300}


def test_what_a_log_does_not_hold_is_null_with_a_reason(tmp_path: Path) -> None:
    record = read_training_log(write(tmp_path / "mine.json", START, {"mode": "train", "iter": 50}), ENTRY)
    records.validate(record)
    assert (record["memory_mb"], record["seconds_per_iteration"], record["metrics"]) == (None, None, {})
    assert set(record["absent"]) == {"memory_mb", "seconds_per_iteration"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", r"log\.json:1: not JSON"),
        ("[]", r"log\.json:1: expected a JSON object"),
        ('{"env_info": ""}', "no training line"),
        ('{"mode": "train", "iter": 50, "time": "fast"}', "time is 'fast' in a line of mode train"),
    ],
)
def test_a_file_that_is_no_log_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "x.log.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingLogError, match=complaint):
        read_training_log(path, ENTRY)
    with pytest.raises(OptionError, match="say which entry"):
        read_training_log(path)
    with pytest.raises(TrainingLogError, match=r"none\.json: cannot be read"):
        read_training_log(tmp_path / "none.json", ENTRY)


def test_command_adds_a_record_that_the_zoo_s_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path / NAME, START, train(50, 9.0), train(100, 0.4), val(0.7926))
    assert main(["tables", "--import-log", str(log), "--logs", str(tmp_path / "logs")]) == 0
    assert f"{ENTRY}: 0.400 s an iteration, 5.66 GB, mIoU 79.26 after 100 iterations" in capsys.readouterr().out
    text = tables.render("zoo", tables.read_logs(tmp_path / "logs"))
    assert f"- `{ENTRY}`, published training log: 0.400 s an iteration" in text
