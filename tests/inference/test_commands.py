"""``segzoo predict`` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segzoo
from segzoo.cli import main
from tests.inference.plain import picture

MODEL = "fast_scnn_cityscapes"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.manual_seed(0)
    torch.save(segzoo.load(MODEL, pretrained=False).state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("a.png", "b.jpg", "deep/c.png")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(64, 80 + 16 * i, i)).save(tmp_path / "in" / name)
    return tmp_path


def command(weights: Path, *arguments: str) -> int:
    own = ("--model", MODEL, "--weights", str(weights), "--resize", "128x64", "--device", "cpu")
    return main(["predict", *arguments, *own])


def expected(weights: Path, source: Path) -> np.ndarray:
    return segzoo.load(MODEL, weights=weights).predict(source, resize=(128, 64)).mask


def test_one_picture(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(weights, "in/a.png", "--out", "street.png") == 0
    assert np.array_equal(np.asarray(Image.open("street.png")), expected(weights, folder / "in/a.png"))
    out = capsys.readouterr().out
    assert out.startswith("street.png: ")
    assert "%" in out
    assert command(weights, "in/a.png", "--kind", "overlay", "--legend", "--quiet") == 0
    assert Image.open("a_overlay.png").width >= 80
    assert capsys.readouterr().out == ""


def test_a_folder_with_a_bad_file_is_resumed(folder: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in" / "bad.png").write_bytes(b"words")
    assert command(weights, "in", "--out", "masks") == 1
    found = sorted(str(p.relative_to(folder / "masks")) for p in (folder / "masks").rglob("*.png"))
    assert found == ["a.png", "b.png", "deep/c.png"]
    assert np.array_equal(np.asarray(Image.open("masks/deep/c.png")), expected(weights, folder / "in/deep/c.png"))
    printed = capsys.readouterr()
    assert "3 written to masks, 0 there already, 1 failed" in printed.out
    assert "bad.png" in printed.err
    (folder / "in" / "bad.png").unlink()
    assert command(weights, "in", "--out", "masks") == 0
    assert "0 written to masks, 3 there already, 0 failed" in capsys.readouterr().out


def test_a_pattern_and_the_protocol(folder: Path, weights: Path) -> None:
    options = (
        "--mode",
        "slide",
        "--crop",
        "64",
        "--stride",
        "32x48",
        "--flip",
        "--scales",
        "0.5,1",
        "--kind",
        "colour",
    )
    assert command(weights, "in/*.png", "in/deep/c.png", "--out", "shown", *options) == 0
    assert sorted(p.name for p in (folder / "shown").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("absent.png",), 1, "no such file"),
        (("*.webp",), 1, "no pictures found"),
        (("in/a.png", "--mode", "slide", "--crop", "32", "--stride", "64"), 1, "gaps"),
        (("in/a.png", "--out", "street.jpg"), 1, "class numbers"),
        (("in/a.png", "--tiled"), 1, "--out"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: Path, weights: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert command(weights, *arguments) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--crop", "big"), ("--scales", "a,b"), ("--resize", "5x"), ("--mode", "tile")])
def test_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["predict", "a.png", "--model", MODEL, *arguments])
    assert caught.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "segzoo predict street.jpg --model" in capsys.readouterr().out
