"""Loading by name: every way in, and every way it can go wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import segzoo
from segzoo.errors import CheckpointError, OfflineError, OptionError, StateDictMismatchError, UnknownNameError
from segzoo.weights import write_safetensors

NAME = "fast_scnn_cityscapes"
SMALL = "fcn_r18_cityscapes"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A state dict of Fast-SCNN as a training run would leave it, auxiliary heads included."""
    torch.manual_seed(0)
    return segzoo.load(NAME, pretrained=False, auxiliary=True).state_dict()


def assert_holds(model: segzoo.Model, state: dict[str, Tensor]) -> None:
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def test_without_weights_a_model_is_ready_for_use() -> None:
    model = segzoo.load(NAME, pretrained=False)
    assert not model.training
    assert model.entry.name == "fast_scnn_lr0_12_8x4_160k_cityscapes"
    assert model(torch.randn(2, 3, 64, 96)).shape == (2, 19, 64, 96)
    assert model.train()(torch.randn(2, 3, 64, 96)).shape == (2, 19, 64, 96)


@pytest.mark.parametrize("form", ["bare", "wrapped", "prefixed"])
def test_a_users_own_checkpoint_loads_strictly(tmp_path: Path, state: dict[str, Tensor], form: str) -> None:
    content: dict[str, object] = {
        "bare": dict(state),
        "wrapped": {"meta": {"epoch": 3, "CLASSES": ("a", "b")}, "state_dict": dict(state), "optimizer": {"lr": 0.1}},
        "prefixed": {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
    }[form]  # type: ignore[assignment]
    path = tmp_path / "mine.pth"
    torch.save(content, path)
    assert_holds(segzoo.load(NAME, weights=path), state)
    assert_holds(segzoo.load(NAME, weights=str(path), auxiliary=True), state)


def test_safetensors_load(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({key: tensor.clone() for key, tensor in state.items()}, path)
    model = segzoo.load(NAME, weights=path)
    assert_holds(model, state)
    assert all(not p.is_meta for p in model.parameters())
    # What was loaded may be trained: nothing of it is tied to the file.
    model.train()(torch.randn(2, 3, 64, 64)).sum().backward()


def test_a_half_precision_file_gives_a_float32_model(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "half.safetensors"
    save_file({k: t.half() if t.is_floating_point() else t.clone() for k, t in state.items()}, path)
    assert segzoo.load(NAME, weights=path).dtype == torch.float32


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    broken = {key: tensor for key, tensor in state.items() if key != "decode_head.conv_seg.bias"}
    broken["decode_head.extra.weight"] = torch.zeros(1)
    broken["backbone.learning_to_downsample.conv.conv.weight"] = torch.zeros(1, 2, 3)
    path = tmp_path / "broken.pth"
    torch.save(broken, path)
    with pytest.raises(StateDictMismatchError) as error:
        segzoo.load(NAME, weights=path)
    message = str(error.value)
    assert "decode_head.conv_seg.bias" in message
    assert "decode_head.extra.weight" in message
    assert "learning_to_downsample.conv.conv.weight" in message
    assert "broken.pth" in message


def test_auxiliary_heads_that_the_file_lacks_are_missed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "plain.pth"
    torch.save({key: tensor for key, tensor in state.items() if not key.startswith("auxiliary")}, path)
    assert segzoo.load(NAME, weights=path).auxiliary_head is None
    with pytest.raises(StateDictMismatchError, match="auxiliary_head"):
        segzoo.load(NAME, weights=path, auxiliary=True)


def test_another_number_of_classes_keeps_all_but_the_classifiers(
    tmp_path: Path, state: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(state, path)
    with caplog.at_level(logging.WARNING, logger="segzoo"):
        model = segzoo.load(NAME, weights=path, num_classes=4, auxiliary=True)
    fresh = {f"{head}.conv_seg.{kind}" for head in ("decode_head", "auxiliary_head.0", "auxiliary_head.1")
             for kind in ("weight", "bias")}  # fmt: skip
    assert set(model.reinitialised) == fresh
    assert all(key in caplog.text for key in fresh)
    for key, tensor in model.state_dict().items():
        if key in fresh:
            assert tensor.shape[0] == 4
            assert tensor.isfinite().all()
        else:
            assert torch.equal(tensor, state[key])
    assert model.num_classes == 4
    assert model.classes[3] == "class 3"
    same = segzoo.load(NAME, weights=path, num_classes=19)
    assert same.reinitialised == ()


def test_nothing_falls_back_to_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    with pytest.raises(OfflineError) as error:
        segzoo.load(NAME)
    assert "fast_scnn_lr0.12_8x4_160k_cityscapes" in str(error.value)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.pth"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        segzoo.load(NAME, weights=path)
    with pytest.raises(segzoo.SegzooError, match=r"absent\.pth"):
        segzoo.load(NAME, weights=tmp_path / "absent.pth")


@pytest.mark.parametrize("num_classes", [None, 4])
def test_a_saved_model_comes_back(tmp_path: Path, num_classes: int | None) -> None:
    model = segzoo.load(NAME, pretrained=False, num_classes=num_classes, auxiliary=True)
    directory = model.save_pretrained(tmp_path / "saved")
    again = segzoo.load(str(directory))
    assert (again.classes, again.palette, again.entry) == (model.classes, model.palette, model.entry)
    assert again.auxiliary_head is None
    assert_holds(again, model.state_dict())
    assert_holds(segzoo.load(str(directory), auxiliary=True), model.state_dict())
    fresh = segzoo.load(str(directory), num_classes=3)
    assert fresh.reinitialised == ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    with pytest.raises(OptionError, match="leave weights and pretrained out"):
        segzoo.load(str(directory), pretrained=False)


def test_a_directory_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(segzoo.SegzooError, match="nothing"):
        segzoo.load(str(tmp_path / "nothing"))


def test_a_model_can_be_prepared() -> None:
    model = segzoo.load(NAME, pretrained=False)
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    ready = model.optimize()
    same = ready.predict(picture, resize=None).mask == model.predict(picture, resize=None).mask
    assert same.mean() > 0.999
    assert "folded" in repr(ready)


def test_names_and_options_are_checked_first() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        segzoo.load("fast_scnn_cityscape")
    with pytest.raises(OptionError, match="num_classes"):
        segzoo.load(NAME, pretrained=False, num_classes=0)


def test_predict_keeps_the_models_mode(tmp_path: Path) -> None:
    model = segzoo.load(NAME, pretrained=False).train()
    model.backbone.eval()
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    result = model.predict(picture, resize=None)
    assert result.mask.shape == (40, 60)
    assert model.training
    assert not model.backbone.training


def test_a_backbone_by_a_models_name() -> None:
    backbone = segzoo.create_backbone("fcn_r18_cityscapes", out_indices=(0, 2))
    features = backbone(torch.randn(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(backbone.channels) == [64, 256]
    assert [64 // f.shape[2] for f in features] == list(backbone.strides) == [4, 8]
    with pytest.raises(OptionError, match="FastSCNN"):
        segzoo.create_backbone(NAME, out_indices=(0,))


def test_a_pretrained_backbone_has_the_files_tensors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = segzoo.load(SMALL, pretrained=False, auxiliary=True)
    path = tmp_path / "whole.pth"
    torch.save(whole.state_dict(), path)
    monkeypatch.setattr("segzoo.model.hub.fetch", lambda weights, name: path, raising=False)
    backbone = segzoo.create_backbone(SMALL, pretrained=True)
    for key, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, whole.backbone.state_dict()[key])


@pytest.mark.parametrize(
    ("palette", "second"), [("[[1, 2, 3], [4, 5, 6]]", (4, 5, 6)), ("[[1, 2], [4, 5]]", None), ("{", None)]
)
def test_a_file_may_bring_its_classes(tmp_path: Path, palette: str, second: tuple[int, int, int] | None) -> None:
    model = segzoo.load(NAME, pretrained=False, num_classes=2)
    path = tmp_path / "two.safetensors"
    write_safetensors(path, model.state_dict(), {"classes": '["ground", "square"]', "palette": palette})
    if palette == "{":  # what cannot be read says nothing: the file is taken for the entry's, and does not fit
        with pytest.raises(StateDictMismatchError, match="conv_seg"):
            segzoo.load(NAME, weights=path)
        return
    loaded = segzoo.load(NAME, weights=path)
    assert loaded.classes == ("ground", "square")
    assert loaded.palette[1] == second if second else len(loaded.palette) == 2
    assert loaded.reinitialised == ()
    assert segzoo.load(NAME, weights=path, num_classes=2).reinitialised == ()
    assert segzoo.load(NAME, weights=path, num_classes=5).reinitialised != ()
