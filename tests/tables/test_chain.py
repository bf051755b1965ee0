"""From pictures to a document: evaluate, log, table, check."""

from __future__ import annotations

from pathlib import Path

import pytest

from segzoo import records
from segzoo.cli import main

NAME = "fast_scnn_drawn_streets"


def test_a_figure_in_a_document_comes_from_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))
    streets, logs, readme = tmp_path / "streets", tmp_path / "logs", tmp_path / "README.md"
    assert main(["draw-streets", str(streets), "--train", "0", "--val", "2", "--size", "128x64"]) == 0
    log = str(logs / "x.jsonl")
    assert main(["evaluate", NAME, "--data", str(streets), "--out", log, "--device", "cpu", "--quiet"]) == 0
    (record,) = records.read([logs])
    miou = f"{record['metrics']['mIoU']:.2f}"

    readme.write_text(
        "<!-- segzoo:table embedded -->\n<!-- /segzoo:table -->\n\n![IoU](plots/embedded.svg)\n", encoding="utf-8"
    )
    logs_option = ["--logs", str(logs)]
    assert main(["tables", "--check", str(readme), *logs_option]) == 1
    assert main(["tables", "--write", str(readme), *logs_option]) == 0
    assert main(["tables", "--check", str(readme), *logs_option]) == 0
    text = readme.read_text(encoding="utf-8")
    assert f"| {miou} | in the package |" in text
    assert "2 pictures of `val`" in text
    plot = tmp_path / "plots" / "embedded.svg"
    assert f"mIoU {miou} on 2 streets" in plot.read_text(encoding="utf-8")

    readme.write_text(text.replace(miou, "99.99"), encoding="utf-8")
    capsys.readouterr()
    assert main(["tables", "--check", str(readme), *logs_option]) == 1
    error = capsys.readouterr().err
    assert "99.99" in error
    assert f"segzoo tables --write {readme}" in error
