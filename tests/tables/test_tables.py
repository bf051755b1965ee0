"""Tables: figures of the index and the logs, between markers, never stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segzoo import records, tables
from segzoo.cli import main
from segzoo.errors import OptionError
from segzoo.index import default_index, find
from segzoo.tables import Logs, TableError

ROOT = Path(__file__).resolve().parents[2]
FASTFCN = "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"
DOCUMENT = "before\n<!-- segzoo:table methods -->\nold\n<!-- /segzoo:table -->\nafter\n"


def row(text: str, start: str) -> list[str]:
    """The cells of the one table row that begins with ``start``."""
    marks = (f"| {start}", f" | {start}")  # in the first column, or in the second
    lines = [
        line
        for line in text.splitlines()
        if line.startswith(marks[0]) or line.find(marks[1], 1, 200) == line.find(" | ", 1) > 0
    ]
    assert len(lines) == 1, f"{len(lines)} rows begin with {start!r}"
    return [cell.strip() for cell in lines[0].strip("|").split(" | ")]


def log(folder: Path, *records: dict[str, Any]) -> Path:
    (folder / "x.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return folder


def parity(method: str, architecture: str, error: float, verdict: str = "agrees") -> dict[str, Any]:
    return {
        "kind": "parity",
        "method": method,
        "architecture": architecture,
        "max_error_over_std": error,
        "verdict": verdict,
        "dtype": "float32",
        "environment": records.environment(),
    }


def accuracy(entry: str, miou: float, **more: Any) -> dict[str, Any]:
    record = {
        "kind": "accuracy",
        "entry": entry,
        "dataset": find(entry).dataset,
        "split": "val",
        "protocol": "single-scale",
        "metrics": {"mIoU": miou},
        "pictures": 64,
        "weights_sha256": "0" * 64,
        "environment": records.environment(),
    }
    return {**record, **more}


def test_tables_of_the_repository_are_current() -> None:
    stale = tables.check([ROOT / "README.md", ROOT / "ZOO.md"], tables.read_logs(tables.default_logs()))
    assert not stale, "stale; run: segzoo tables --write README.md ZOO.md"


def test_zoo_shows_the_published_figures() -> None:
    cells = row(tables.render("zoo", Logs()), f"`{FASTFCN}`")
    assert cells[0] == "FastFCN"
    assert cells[1] == f"`{FASTFCN}`<br>`fastfcn_r50_jpu_psp_cityscapes`"
    assert cells[2:9] == ["R-50-D32", "512x1024", "80000", "5.67", "4.40", "79.26", "80.86"]
    assert cells[9].count("https://download.openmmlab.com/") == 3  # the file, its second address, the training log


def test_zoo_has_every_entry_once() -> None:
    text = tables.render("zoo", Logs())
    for name in default_index().entries:
        row(text, f"`{name}`")


def test_figures_that_were_not_published_are_dashes() -> None:
    cells = row(tables.render("zoo", Logs()), "`pspnet_r101_d8_512x1024_80k_cityscapes`")
    assert cells[5:9] == [tables.ABSENT, tables.ABSENT, "79.76", "81.01"]


def test_half_precision_speed_says_so() -> None:
    cells = row(tables.render("zoo", Logs()), "`deeplabv3_r101_d8_fp16_512x1024_80k_cityscapes`")
    assert cells[6] == "3.86 (FP16)"


def test_measured_accuracy_comes_from_a_log_only(tmp_path: Path) -> None:
    assert "measured" not in tables.render("zoo", Logs())
    record = accuracy(FASTFCN, 79.123)
    text = tables.render("zoo", tables.read_logs(log(tmp_path, record)))
    assert row(text, f"`{FASTFCN}`")[8] == "79.12 (−0.14)"  # noqa: RUF001
    assert text.count("mIoU, measured") == 1  # only the table that the entry stands in


def test_measured_speed_names_hardware_and_a_busy_machine(tmp_path: Path) -> None:
    about = {**records.environment("cpu"), "device_name": "A Processor", "threads": 2, "load_average": [0.5, 1, 1]}
    about["hardware"] = {"processor": "A Processor", "cores": 2}
    speed = {
        "kind": "speed",
        "entry": FASTFCN,
        "input_size": [1024, 2048],
        "dtype": "float32",
        "as_tested": True,
        "definition": "model-zoo",
        "mode": "whole",
        "fps": 5.0,
        "ms": {"median": 200.0, "mean": 200.0, "q1": 199.0, "q3": 201.0},
        "images": 200,
        "not_counted": 5,
        "environment": about,
    }
    text = tables.render("zoo", tables.read_logs(log(tmp_path, speed, {**speed, "as_tested": False, "fps": 9.0})))
    assert row(text, f"`{FASTFCN}`")[6:8] == ["4.40", "5.00 (+0.60)"]
    assert f"- `{FASTFCN}`, speed measured: 1024x2048, 200 pictures, A Processor, 2 threads, PyTorch" in text
    assert "busy" not in text
    speed["environment"] = {**about, "load_average": [9.5, 1, 1]}
    text = tables.render("zoo", tables.read_logs(log(tmp_path, speed)))
    assert "on a busy machine (load 9.5 on 2 cores)" in text


def test_drawn_streets_by_class_and_on_the_whole(tmp_path: Path) -> None:
    (name,) = (entry.name for entry in default_index().entries.values() if entry.dataset == "drawn_streets")
    assert row(tables.render("drawn-streets", Logs()), "road") == ["road", tables.ABSENT]
    record = accuracy(name, 87.5, iou={"road": 99.25})
    text = tables.render("drawn-streets", tables.read_logs(log(tmp_path, record)))
    assert row(text, "**mIoU**")[1] == "87.50"
    assert row(text, "road")[1] == "99.25"
    assert row(text, "sky")[1] == tables.ABSENT
    assert row(text, "unseen pictures")[1] == "64"


def test_method_row_sums_up_its_entries() -> None:
    cells = row(tables.render("methods", Logs()), "[FastFCN]")
    assert cells[1:] == ["12", "3", "79.52", "43.58", tables.ABSENT]


def test_fidelity_is_the_largest_error_and_counts_agreement(tmp_path: Path) -> None:
    records = [
        parity("FastFCN", "psp", 3e-6),
        parity("FastFCN", "enc", 5e-2, "disagrees"),
        parity("FCN", "r50", 9.0),
    ]
    logs = tables.read_logs(log(tmp_path, *records))
    assert row(tables.render("methods", logs), "[FastFCN]")[-1] == "5.0e-02 (1 of 2)"


def test_the_later_record_counts(tmp_path: Path) -> None:
    logs = tables.read_logs(log(tmp_path, parity("FastFCN", "psp", 5e-2, "disagrees"), parity("FastFCN", "psp", 3e-6)))
    assert row(tables.render("methods", logs), "[FastFCN]")[-1] == "3.0e-06 (1 of 1)"


def test_write_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    assert tables.write([path], Logs()) == [path]
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- segzoo:table methods -->\n| Method |")
    assert text.endswith("\n<!-- /segzoo:table -->\nafter\n")
    assert "old" not in text
    assert tables.check([path], Logs()) == ""
    assert tables.write([path], Logs()) == []


def test_check_shows_what_is_stale_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    diff = tables.check([path], Logs())
    assert "-old\n" in diff
    assert "+| Method |" in diff
    assert path.read_text(encoding="utf-8") == DOCUMENT


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no marker\n", "no table to fill"),
        ("<!-- segzoo:table methods -->\n", "not closed"),
        (f"<!-- segzoo:table zoo -->\n{DOCUMENT}", "not closed"),
    ],
)
def test_broken_markers_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "doc.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=complaint):
        tables.write([path], Logs())
    assert path.read_text(encoding="utf-8") == text


def test_unknown_table_and_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT.replace("methods", "speeds"), encoding="utf-8")
    with pytest.raises(OptionError, match=r"'speeds'.*methods, zoo, embedded"):
        tables.check([path], Logs())
    with pytest.raises(TableError, match=r"none\.md"):
        tables.check([tmp_path / "none.md"], Logs())


def test_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "doc.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    assert main(["tables", "--check", str(path)]) == 1
    assert f"segzoo tables --write {path}" in capsys.readouterr().err
    assert main(["tables", "--write", str(path)]) == 0
    assert main(["tables", "--check", str(path)]) == 0
    assert main(["tables", "--logs", str(tmp_path)]) == 0
    assert "| [FastFCN](ZOO.md#fastfcn) (" in capsys.readouterr().out


def test_figures_beside_a_peer(tmp_path: Path) -> None:
    common = {"kind": "comparison", "peer": "peer 1", "unit": "seconds", "environment": records.environment("cpu")}

    def predicted(subject: str, method: str, time: float, bar: dict[str, float] | None) -> dict[str, Any]:
        used = {"ours": 2 << 20, "theirs": 8 << 20}
        return {
            **common, "subject": subject, "method": method, "ours": 0.5, "theirs": 0.5 * time, "time_ratio": time,
            "memory_ratio": 4.0, "peak_above_loaded": used, "same_labels": 0.9999, "bar": bar,
        }  # fmt: skip

    found = [
        predicted("net@8x8", "Net", 3.0, {"time": 2.5, "memory": 6}),
        predicted("one@8x8", "One", 2.0, None),
        predicted("two@8x8", "Two", 8.0, None),
        {**common, "subject": "training net", "ours": 9.0, "theirs": 10.0, "ours_over_theirs": 0.9, "bar": 0.9},
        {**common, "subject": "areas", "ours": 1.0, "theirs": 1.0},
    ]
    for record in found:
        records.append(tmp_path / "peers.jsonl", record)
    lines = tables.render("peers", tables.read_logs(tmp_path)).splitlines()
    assert "| `net@8x8` | 500 | 1500 | 3.00 | 2.5 | 2 | 4.00 | 6 | 99.9900 % |" in lines
    assert "| 2 methods at their crop sizes, geometric mean | – | – | 4.00 | – | – | 4.00 | – | – |" in lines  # noqa: RUF001
    assert "| training net | 9.00 | 10.00 | 0.90 | 0.90 |" in lines
    assert not any("areas" in line for line in lines)
