"""From pictures to a document: evaluate, log, table, check."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import segzoo
from segzoo import records
from segzoo.cli import main
from segzoo.index import dataset, datasets, default_index
from tests.datasets.made import make

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


METHOD = """\
method: Tiny
paper: {title: No paper, url: "https://example.com/tiny"}

protocols:
  as_is: {mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375], mode: whole}

architectures:
  tiny:
    backbone: {type: CGNet, num_channels: [8, 16, 16], num_blocks: [1, 2], dilations: [2, 4], reductions: [8, 16]}
    decode_head: {type: FCNHead, channels: 32, num_convs: 0, in_index: 2, concat_input: false}

entries:
"""
ENTRY = """\
  tiny_{name}:
    architecture: tiny
    backbone: Tiny
    dataset: {name}
    num_classes: {classes}
    align_corners: false
    protocol: as_is
    weights: {{addresses: ["https://example.com/tiny/{name}.pth"], sha256: '{sha256}'}}
    reported: {{metrics: {{mIoU: 50.0}}}}
"""


@pytest.fixture
def tiny_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An index of one small network a data set, whose weights lie in a mirror; the names of the data sets."""
    names = [name for name in datasets() if name != "drawn_streets"]
    index, mirror = tmp_path / "index", tmp_path / "mirror" / "tiny"
    index.mkdir()
    mirror.mkdir(parents=True)
    monkeypatch.setattr("segzoo.index.index_directory", lambda: index)
    monkeypatch.setenv("SEGZOO_MIRROR", str(mirror.parent))
    hashes = dict.fromkeys(names, "0" * 64)
    for _ in range(2):  # first to build the networks, then with the hashes of their weights
        text = "".join(
            ENTRY.format(name=name, classes=len(dataset(name).classes), sha256=hashes[name]) for name in names
        )
        (index / "tiny.yaml").write_text(METHOD + text)
        default_index.cache_clear()
        for name in names:
            path = mirror / f"{name}.pth"
            if not path.exists():
                torch.manual_seed(0)
                torch.save(segzoo.load(f"tiny_{name}", pretrained=False).state_dict(), path)
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    yield names
    default_index.cache_clear()


def test_every_layout_goes_from_its_folders_to_a_table(
    tiny_zoo: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "cache"))
    logs, readme = tmp_path / "logs", tmp_path / "README.md"
    for name in tiny_zoo:
        make(tmp_path / "data", name, count=2, size=(32, 48))
        place = str(tmp_path / "data" / dataset(name).layout.folder)
        out = str(logs / "accuracy.jsonl")
        assert main(["evaluate", f"tiny_{name}", "--data", place, "--out", out, "--device", "cpu", "--quiet"]) == 0
    found = {record["dataset"]: record["metrics"]["mIoU"] for record in records.read([logs])}
    assert list(found) == tiny_zoo

    readme.write_text("<!-- segzoo:table zoo -->\n<!-- /segzoo:table -->\n", encoding="utf-8")
    options = ["--logs", str(logs)]
    assert main(["tables", "--write", str(readme), *options]) == 0
    assert main(["tables", "--check", str(readme), *options]) == 0
    text = readme.read_text(encoding="utf-8")
    for name, value in found.items():
        (row,) = (line for line in text.splitlines() if f"`tiny_{name}`" in line and "50.00" in line)
        assert f"{value:.2f} ({value - 50:+.2f})" in row.replace("\N{MINUS SIGN}", "-"), row
    value = next(iter(found.values()))
    readme.write_text(text.replace(f"{value:.2f} (", f"{value + 1:.2f} ("), encoding="utf-8")
    assert main(["tables", "--check", str(readme), *options]) == 1
