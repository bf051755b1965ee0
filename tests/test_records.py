"""Records: a schema a kind, validated on the way in and on the way out."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segzoo import records
from segzoo.records import RecordError

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "benchmarks" / "logs"


def first_call(**changes: Any) -> dict[str, Any]:
    record = {
        "kind": "first_call",
        "entry": "fast_scnn_cityscapes",
        "input_size": [64, 128],
        "dtype": "float32",
        "ms": 12.5,
        "environment": records.environment("cpu"),
    }
    return {**record, **changes}


def test_logs_of_the_repository_are_sound() -> None:
    kinds = {record["kind"] for record in records.read([LOGS])}
    assert {"parity", "accuracy", "downloads.rate"} <= kinds


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log.jsonl"
    written = [first_call(ms=float(ms)) for ms in range(3)]
    for record in written:
        records.append(path, record)
    assert records.read([path]) == written
    assert records.read([tmp_path / "logs"]) == written


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "speeed"}, "'speeed' is unknown; there are parity, accuracy"),
        ({"ms": None}, "first_call: ms: expected a finite number, 0 or more, found none; .*absent"),
        ({"ms": -1.0}, "ms: expected a finite number"),
        ({"ms": True}, "ms: expected a finite number"),
        ({"ms": "12"}, "ms: expected a finite number"),
        ({"ms": math.nan}, "not JSON"),
        ({"input_size": [64]}, r"input_size: expected \[height, width\]"),
        ({"environment": None}, "environment: expected an object"),
        ({"environment": {}}, "environment.time: missing"),
        ({"environment": {**records.environment(), "time": "yesterday"}}, "environment.time: expected a time such as"),
        ({"environment": {**records.environment(), "time": "2026-11-20T09:48:02+01:00"}}, "expected a time in UTC"),
        ({"absent": {"ms": ""}}, "absent: expected a reason"),
    ],
)
def test_an_unsound_record_is_not_written(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(RecordError, match=complaint):
        records.append(path, first_call(**changes))
    assert not path.exists()


def test_a_field_nobody_knows_is_null_with_a_reason() -> None:
    records.validate(first_call(ms=None, absent={"ms": "the process was killed"}))
    with pytest.raises(RecordError, match="ms"):
        records.validate(first_call(ms="12", absent={"ms": "the process was killed"}))  # a reason excuses null only


def test_a_class_without_a_pixel_has_no_figure_but_the_mean_must_be_there() -> None:
    figures = records.SCHEMAS["accuracy"]["metrics"]
    assert figures({"mIoU": 1.5, "mDice": None}) is None
    assert "mIoU" in str(figures({"mIoU": None}))
    assert "mDice" in str(figures({"mIoU": 1.5, "mDice": "2"}))


@pytest.mark.parametrize("line", ["{", "[]", '{"kind": "first_call"}', '{"kind": 3}'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(first_call())}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"bad\.jsonl:3: "):
        records.read([path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none\.jsonl: cannot be read"):
        records.read([tmp_path / "none.jsonl"])


def test_write_replaces_a_file_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    records.write(path, [first_call(ms=1.0)])
    with pytest.raises(RecordError):
        records.write(path, [first_call(ms=2.0), first_call(ms="3")])
    assert [record["ms"] for record in records.read([path])] == [1.0]
    assert list(tmp_path.iterdir()) == [path]


def test_environment_names_commit_versions_and_machine() -> None:
    found = records.environment("cpu")
    assert found["device"] == "cpu"
    assert {"segzoo", "torch", "numpy", "python"} <= set(found["versions"])
    assert found["hardware"]["cores"] >= 1
    if (ROOT / ".git").exists():
        assert re.fullmatch("[0-9a-f]{40}", found["commit"])
    else:
        assert found["commit"] is None


def test_records_need_no_torch() -> None:
    code = "import sys; from segzoo import records; records.environment(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
