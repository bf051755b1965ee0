"""Exported files compute what the model does, say what they are, and are there whole or not at all."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segzoo
from benchmarks.exports import measure, smallest
from segzoo.cli import main
from segzoo.errors import ExportError, InputSizeError, OptionError
from segzoo.export import check, export
from segzoo.export.exporting import Format
from segzoo.index import Entry, default_index, find
from segzoo.layers.attention import RelativePositionAttention
from segzoo.layers.pyramid_pooling import PyramidPooling
from segzoo.segmentor import Segmentor

EMBEDDED = "fast_scnn_drawn_streets"


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, 4, 2)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[2] < 8:
            raise InputSizeError("pictures are at least 8 x 8")
        return [self.norm(self.first(x))]


class Head(nn.Module):
    """Pools to grids that do not divide the map."""

    align_corners = False

    def __init__(self) -> None:
        super().__init__()
        self.pools = PyramidPooling((1, 2, 3), 6, 4)
        self.last = nn.Conv2d(12, 5, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.last(torch.cat(self.pools(features[0]), 1))


def small(capability: str = "dynamic") -> Segmentor:
    entry: Entry = find("pspnet_r50_cityscapes")
    architecture = dataclasses.replace(entry.architecture, export=capability)  # type: ignore[arg-type]
    entry = dataclasses.replace(entry, architecture=architecture, crop_size=(24, 40))
    torch.manual_seed(0)
    names = tuple(f"class {i}" for i in range(5))
    model = Segmentor(
        entry=entry, backbone=Backbone(), decode_head=Head(), classes=names, palette=((0, 0, 0),) * len(names)
    )
    return model.train()


@pytest.mark.parametrize("dynamic", [True, False])
def test_torch_export(tmp_path: Path, dynamic: bool) -> None:
    model = small()
    made = export(model, tmp_path / "model.pt2", format="torch_export", dynamic=dynamic, batch=2)
    assert model.training
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert (made.size, made.dynamic) == ((24, 40), dynamic)
    assert all(agreement.error < 1e-5 for agreement in made.agreements)
    assert [agreement.size for agreement in made.agreements] == [(24, 40), (45, 33)][: 1 + dynamic]
    extra = {"segzoo.json": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    about = json.loads(extra["segzoo.json"])
    assert about["classes"] == list(model.classes)
    assert about["mean"] == list(model.entry.protocol.mean)
    assert about["protocol"]["mode"] == "whole"
    x = torch.randn(2, 3, 24, 40)
    with torch.no_grad():
        assert torch.allclose(module(x), copy.deepcopy(model).eval()(x), atol=1e-5)
        if dynamic:
            assert module(torch.randn(2, 3, 51, 33)).shape == (2, 5, 51, 33)


def test_onnx_of_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small()
    made = export(model, tmp_path / "model.onnx", format="onnx", dynamic=True)
    assert [agreement.error < 1e-5 for agreement in made.agreements] == [True, True]
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("input", [1, 3, "height", "width"])
    assert (result.name, result.shape) == ("logits", [1, 5, "height", "width"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["segzoo.classes"]) == list(model.classes)
    assert json.loads(about["segzoo.std"]) == list(model.entry.protocol.std)
    assert about["segzoo.name"] == model.entry.name
    assert "RGB" in about["segzoo.input"]


class Attention(nn.Module):
    """A class token and patches that attend to each other by their relative positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.attention = RelativePositionAttention(16, 2, (3, 5), class_token=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        tokens = F.pad(self.patches(x).flatten(2).transpose(1, 2), (0, 0, 1, 0))
        tokens = self.attention(tokens)[:, 1:]
        return [tokens.transpose(1, 2).unflatten(2, (3, 5))[:, :6]]


@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_attention_with_a_learned_bias(tmp_path: Path, format: Format) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    model = small()
    model.backbone = Attention()
    model.backbone.patches.requires_grad_(False)
    made = export(model, tmp_path / "model", format=format)
    assert made.agreements[0].error < 1e-5
    assert model.backbone.attention.relative_position_bias_table.requires_grad
    assert not model.backbone.patches.weight.requires_grad
    if format == "torch_export":  # with gradients enabled as without
        x = torch.randn(1, 3, 24, 40)
        assert torch.allclose(torch.export.load(made.path).module()(x), model.eval()(x), atol=1e-5)


def test_the_command_exports_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "network.pt2"
    arguments = ["export", EMBEDDED, "--format", "torch_export", "--out", str(out), "--size", "64x96"]
    assert main(arguments) == 0
    assert "64 x 96, this size only" in capsys.readouterr().out
    model = segzoo.load(EMBEDDED)
    (agreement,) = check(model, out, "torch_export", [(64, 96)])
    assert agreement.error < 1e-5


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"
    export(small(), path, format="torch_export")
    other = small().eval()
    assert isinstance(other.decode_head, Head)
    other.decode_head.last.weight.data *= 1.01
    with pytest.raises(ExportError, match="off by"):
        check(other, path, "torch_export", [(24, 40)])
    with pytest.raises(ExportError, match="fails at 32 x 32"):
        check(small().eval(), path, "torch_export", [(32, 32)])
    monkeypatch.setattr("segzoo.export.checking.TOLERANCE", 0.0)
    with pytest.raises(ExportError):
        export(other, tmp_path / "never.pt2", format="torch_export")
    assert [found.name for found in tmp_path.iterdir()] == ["model.pt2"]


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(ExportError, match="fixed size only"):
        export(small("fixed"), out, format="torch_export", dynamic=True)
    with pytest.raises(ExportError, match="cannot be exported"):
        export(small("none"), out, format="torch_export")
    with pytest.raises(InputSizeError, match="at least 8"):
        export(small(), out, format="torch_export", size=(4, 8))
    with pytest.raises(OptionError, match="not 'tflite'"):
        export(small(), out, format="tflite")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="batch"):
        export(small(), out, format="torch_export", batch=0)
    with pytest.raises(OptionError, match="size"):
        export(small(), out, format="torch_export", size=(0, 8))
    with pytest.raises(SystemExit):
        main(["export", EMBEDDED, "--format", "onnx", "--out", str(out), "--size", "big"])
    assert not list(tmp_path.iterdir())


def test_info_tells_what_can_be_exported(capsys: pytest.CaptureFixture[str]) -> None:
    for name, told in (("psanet_r50_ade20k", "at a fixed size"), ("pspnet_r50_ade20k", "may be left open")):
        assert main(["info", name]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("export ")]
        assert told in line
    # BEiT's and MAE's positions are of one grid; how often LR-ASPP's windows fit is decided as it is traced; PSANet's
    # attention is written out by rows.
    fixed = {entry.architecture.backbone.type for entry in default_index().entries.values() if _is_fixed(entry)}
    assert fixed == {"BEiT", "MAE", "MobileNetV3", "ResNet"}


def _is_fixed(entry: Entry) -> bool:
    return entry.architecture.export == "fixed"


@pytest.mark.large
@pytest.mark.parametrize("format", ["onnx", "torch_export"])
@pytest.mark.parametrize("name", smallest())
def test_every_method_is_exported_as_the_index_says(name: str, format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    record = measure(name, format)  # type: ignore[arg-type]
    assert record["kind"] == "export", record
    assert all(error < 1e-3 for error in record["errors"].values())
