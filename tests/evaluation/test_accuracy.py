"""Evaluation from files to figures: on every data set, by both protocols, and going on after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

import segzoo
from segzoo.cli import main
from segzoo.datasets.base import Sample, SegmentationData, open_dataset
from segzoo.datasets.drawn_streets import write
from segzoo.errors import DatasetError, OptionError
from segzoo.evaluation import evaluate, measure
from segzoo.evaluation.accuracy import RATIOS
from segzoo.evaluation.commands import _EXAMPLES
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.evaluation.progress import Progress
from segzoo.index import datasets, find
from segzoo.inference.predictor import predict
from segzoo.records import read, validate
from tests.datasets.made import make, make_folder
from tests.evaluation.small import Small

ENTRY = "fast_scnn_drawn_streets"


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    list(write(tmp_path / "streets", train=0, val=3, size=(32, 64), seed=9))
    return tmp_path / "streets"


@pytest.mark.parametrize("name", datasets())
def test_every_data_set_is_counted_as_scikit_learn_counts(name: str, tmp_path: Path) -> None:
    make(tmp_path, name)
    data, model = open_dataset(name, tmp_path), Small(name)
    found, pictures = measure(model, data)
    assert pictures == 3
    expected = np.zeros((model.num_classes, model.num_classes), np.int64)
    for number in range(pictures):
        sample = data[number]
        counted = sample.label != 255
        mask = predict(model, sample.image).mask
        expected += confusion_matrix(sample.label[counted], mask[counted], labels=range(model.num_classes))
    np.testing.assert_array_equal(found.matrix.numpy(), expected)


def test_both_published_protocols(tmp_path: Path) -> None:
    """0.x scales the size that the picture is fitted into, 1.x the picture's own; softmax is averaged in both."""
    make(tmp_path, "loveda", size=(33, 51))
    data, model = open_dataset("loveda", tmp_path), Small("loveda", scale=(96, 24))
    sizes = {
        "0.x": [(int(96 * ratio), int(24 * ratio)) for ratio in RATIOS],
        "1.x": [(int(51 * ratio + 0.5), int(33 * ratio + 0.5)) for ratio in RATIOS],
    }
    counts = {}
    for tta in ("0.x", "1.x"):
        expected = ConfusionMatrix(7)
        for number in range(len(data)):
            sample = data[number]
            planes = [
                predict(model, sample.image, resize=size, flip=True, probabilities=True).probabilities
                for size in sizes[tta]
            ]
            mask = torch.as_tensor(np.mean(planes, axis=0).argmax(0))
            expected.update(mask, torch.as_tensor(sample.label))
        counts[tta] = measure(model, data, tta=tta)[0].matrix
        # A pixel may fall the other way where two classes are equal but for the rounding of a mean.
        assert (counts[tta] - expected.matrix).abs().sum() <= 2 * 3
    assert (counts["0.x"] - counts["1.x"]).abs().sum() > 100


def test_the_embedded_model_through_the_command_line(
    streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "log.jsonl"
    assert main(["evaluate", ENTRY, "--data", str(streets), "--out", str(log), "--quiet", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    (record,) = read([log])
    assert (record["entry"], record["dataset"], record["split"]) == (ENTRY, "drawn_streets", "val")
    assert (record["protocol"], record["mode"], record["precision"]) == ("single-scale", "whole", "float32")
    assert (record["pictures"], record["processes"]) == (3, 1)
    assert record["weights_sha256"] == find(ENTRY).weights.sha256
    model, data = segzoo.load(ENTRY), open_dataset("drawn_streets", streets)
    matrix = ConfusionMatrix(13)
    for number in range(3):
        matrix.update(torch.as_tensor(model.predict(data[number].image).mask), torch.as_tensor(data[number].label))
    assert record["metrics"] == matrix.summary()
    for name, figure in zip(data.classes, matrix.iou().tolist(), strict=True):
        assert record["iou"][name] == (figure if figure == figure else None)
        line = next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert line.removeprefix(name).split()[0] == (f"{figure:.2f}" if figure == figure else "-")
    assert f"mIoU {record['metrics']['mIoU']:.2f}" in shown
    # A second run adds its own line, of the first picture alone.
    assert main(["evaluate", ENTRY, "--data", str(streets), "--out", str(log), "--quiet", "--limit", "1"]) == 0
    whole, part = read([log])
    assert (whole["pictures"], whole["split_size"], whole["as_tested"]) == (3, 3, True)
    assert (part["pictures"], part["split_size"], part["as_tested"]) == (1, 3, False)
    assert whole["first_and_last"] == [data.names[0], data.names[2]]


def test_examples_name_models_that_there_are() -> None:
    names = re.findall(r"segzoo evaluate (\w+) ", _EXAMPLES)
    assert len(names) >= 4
    assert all(find(name) for name in names)


def test_a_saved_model_on_pictures_of_ones_own(tmp_path: Path) -> None:
    names = ("class 0", "class 1")
    segzoo.load(ENTRY, num_classes=2).save_pretrained(tmp_path / "mine")
    make_folder(tmp_path / "pictures", names, size=(16, 32))
    found = evaluate(str(tmp_path / "mine"), tmp_path / "pictures", dataset="folder", precision="bfloat16", limit=1)
    assert (found.pictures, found.classes, found.precision) == (1, names, "bfloat16")
    assert int(found.matrix.matrix.sum()) == 16 * 31
    assert found.metrics["Dice"] == pytest.approx(float(found.matrix.dice()[1]), nan_ok=True)
    record = found.record()
    validate(record)
    assert "Dice" in record["metrics"]
    (tmp_path / "pictures" / "classes.txt").write_text("class 0\nsky\n")
    with pytest.raises(
        OptionError, match=r"class 1 of fast_scnn_drawn_streets is 'class 1', of folder 'sky'.*to be class 0, class 1"
    ):
        evaluate(str(tmp_path / "mine"), tmp_path / "pictures", dataset="folder")


def test_options_that_cannot_be_used(tmp_path: Path) -> None:
    make(tmp_path, "drive")
    data, model = open_dataset("drive", tmp_path), Small("drive")
    with pytest.raises(OptionError, match="limit is a whole number of 1 or more, not 0"):
        measure(model, data, limit=0)
    with pytest.raises(OptionError, match=r"tta is '0.x' or '1.x', or None for a single scale; not True"):
        measure(model, data, tta=True)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="small tells 7 classes apart, drive has 2"):
        measure(Small("loveda"), data)
    with pytest.raises(OptionError, match="precision is one of float32, bfloat16, float16, not 'half'"):
        evaluate(ENTRY, tmp_path, precision="half")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"there is no folder leftImg8bit/val in .*segzoo draw-streets"):
        evaluate(ENTRY, tmp_path)
    with pytest.raises(OptionError, match="dataset='ade20k', but the data set given is 'drive'"):
        evaluate(ENTRY, data, dataset="ade20k")


class Faulty:
    """A data set that breaks down at one picture."""

    def __init__(self, data: SegmentationData, fault: int | None, error: BaseException | None = None) -> None:
        self.data, self.fault, self.error = data, fault, error
        self.read: list[int] = []
        self.name, self.classes, self.palette, self.names = data.name, data.classes, data.palette, data.names

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int, /) -> Sample:
        self.read.append(index)
        if index == self.fault:
            raise self.error or OSError("the disk is gone")
        return self.data[index]


def test_an_interrupted_evaluation_goes_on(tmp_path: Path) -> None:
    make(tmp_path, "loveda", count=8)
    data, model = open_dataset("loveda", tmp_path), Small("loveda")
    whole = measure(model, data)[0].matrix
    state = tmp_path / "state.json"
    with pytest.raises(OSError, match="the disk is gone"):
        measure(model, Faulty(data, 5), keep=Progress(state, {"of": "this"}))
    assert json.loads(state.read_text())["done"] == 5
    rest = Faulty(data, None)
    found, pictures = measure(model, rest, keep=Progress(state, {"of": "this"}))
    assert sorted(rest.read) == [5, 6, 7]
    assert pictures == 8
    assert torch.equal(found.matrix, whole)
    assert not state.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["loveDA"]


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "loveda")
    data, model, state = open_dataset("loveda", tmp_path), Small("loveda"), tmp_path / "state.json"
    with pytest.raises(OSError, match="the disk is gone"):
        measure(model, Faulty(data, 1), keep=Progress(state, {"weights": "a", "protocol": "single-scale"}))
    before = state.read_text()
    other = Progress(state, {"weights": "b", "protocol": "single-scale"})
    with pytest.raises(OptionError, match=r"state.json is of another evaluation: weights 'a', not 'b'. Name another"):
        measure(model, data, keep=other)
    assert state.read_text() == before
    for text in ("", "[]", '{"identity": {}}'):
        state.write_text(text)
        with pytest.raises(OptionError, match=r"state.json is no state of an evaluation"):
            measure(model, data, keep=Progress(state, {}))


def test_interrupted_on_the_command_line(
    streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state is kept in the cache, tied to the model, the files and the options; only the rest is predicted."""
    command = ["evaluate", ENTRY, "--data", str(streets), "--quiet", "--device", "cpu"]
    predicted: list[Any] = []

    def interrupted(*args: Any, **options: Any) -> Any:
        if len(predicted) == 2:
            raise KeyboardInterrupt
        predicted.append(args)
        return predict(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("segzoo.evaluation.accuracy.predict", interrupted)
        assert main(command) == 130
        predicted.clear()
        assert main([*command, "--limit", "1"]) == 0  # another evaluation has a state of its own
        assert main(command) == 0
    assert len(predicted) == 2  # one by the limited run, one by the rest
    continued = capsys.readouterr().out
    assert main(command) == 0
    assert capsys.readouterr().out == continued[continued.rindex(f"{ENTRY} on") :]


def test_without_a_place_for_the_state_it_goes_all_the_same(
    streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "file" / "cache"))
    command = ["evaluate", ENTRY, "--data", str(streets), "--quiet", "--device", "cpu", "--limit", "1"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "segzoo: an interrupted run will not go on: " in shown.err
    assert "mIoU" in shown.out
    assert main([*command, "--state", str(tmp_path)]) == 1
    assert "is a folder; name a file" in capsys.readouterr().err


def test_changed_files_are_another_evaluation(streets: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    path = sorted(streets.rglob("*_labelTrainIds.png"))[1]
    sound = path.read_bytes()
    path.write_bytes(sound[:-30])
    with pytest.raises(DatasetError, match=r"000001_000000_gtFine_labelTrainIds.png cannot be read as a label map"):
        evaluate(ENTRY, streets, state=state, device="cpu")
    path.write_bytes(sound)
    with pytest.raises(OptionError, match=r"of another evaluation: files '[0-9a-f]{16}', not '[0-9a-f]{16}'"):
        evaluate(ENTRY, streets, state=state)
