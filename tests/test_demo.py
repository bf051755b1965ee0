"""``segzoo demo``: the whole way from nothing to pictures, with no network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segzoo.cli import main
from segzoo.datasets.drawn_streets import CLASSES


def test_demo_writes_pictures_and_tells_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "here"
    assert main(["demo", "--out", str(out), "--seed", "3"]) == 0
    with Image.open(out / "street.png") as street, Image.open(out / "mask.png") as mask:
        assert street.mode == "RGB"
        assert street.size == mask.size == (1024, 512)
        classes = np.asarray(mask)
    with Image.open(out / "overlay.png") as overlay:
        assert overlay.width >= 1024
        assert overlay.height > 512, "the legend stands below"
    text = capsys.readouterr().out
    shares = {name: float(share) for name, share in re.findall(r"^  ([a-z ]+?) +([\d.]+)%", text, re.MULTILINE)}
    counted = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
    assert shares == {
        name: pytest.approx(100 * share, abs=0.06) for name, share in zip(CLASSES, counted, strict=True) if share
    }
    right = re.search(r"right on ([\d.]+)% of the pixels", text)
    assert right is not None
    assert float(right[1]) > 90
    assert re.search(r"segmented in [\d.]+ s", text)


def test_another_seed_is_another_street(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        assert main(["demo", "--out", str(tmp_path / seed), "--seed", seed]) == 0
    assert (tmp_path / "0" / "street.png").read_bytes() != (tmp_path / "1" / "street.png").read_bytes()


def test_demo_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path), "--seed", "-1"]) == 1
    assert "seed=-1" in capsys.readouterr().err
    file = tmp_path / "file"
    file.touch()
    assert main(["demo", "--out", str(file)]) == 1
    assert "file" in capsys.readouterr().err
