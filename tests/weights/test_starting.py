"""Backbones start from weights in the forms in which those were published; files are written here, not downloaded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import segzoo
from segzoo.build import BACKBONES, component
from segzoo.errors import DownloadError, OfflineError, OptionError, StateDictMismatchError, UnknownNameError
from segzoo.index import Weights, default_index, find
from segzoo.index_backbones import BackboneWeights, backbones, find_backbone
from segzoo.weights import start_backbone
from segzoo.weights.starting import load_start


def backbone_of(name: str) -> nn.Module:
    """The backbone of a model, or of a starting point."""
    known = backbones()
    return component(BACKBONES, known[name].backbone if name in known else find(name).architecture.backbone)


def random_state(module: nn.Module) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(value.shape, generator=draw) if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }


def test_a_classifiers_file_starts_a_backbone_and_what_is_unused_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = random_state(backbone_of("resnet18_v1c"))
    path = tmp_path / "resnet18_v1c.pth"
    torch.save({"state_dict": {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}}, path)
    backbone = backbone_of("pspnet_r18-d8_512x1024_80k_cityscapes")
    with caplog.at_level(logging.WARNING, "segzoo"):
        start = start_backbone(backbone, "resnet18_v1c", weights=path)
    assert start.fresh == ()
    assert start.unused == ("fc.weight", "fc.bias")
    assert "resnet18_v1c: unused: fc.weight, fc.bias" in caplog.text
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    # What was loaded is the backbone's own: training must not write to the file's memory.
    with torch.no_grad():
        backbone.layer1[0].conv1.weight.zero_()  # type: ignore[union-attr, index]
    again = backbone_of("resnet18_v1c")
    start_backbone(again, "resnet18_v1c", weights=path)
    assert torch.equal(again.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_prefixes_of_names_are_taken_off(prefix: str) -> None:
    state = random_state(backbone_of("mit_b0"))
    backbone = backbone_of("mit_b0")
    tensors = {prefix + name: value for name, value in state.items()}
    if "backbone" in prefix:
        tensors["head.fc.weight"] = torch.zeros(10, 256)  # a classifier beside the backbone
    assert load_start(backbone, tensors, find_backbone("mit_b0"), source="x").unused == ()
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("model", "start", "part"),
    [
        ("icnet_r18_d8_in1k_pre_832x832_80k_cityscapes", "resnet18_v1c", "backbone"),
        ("stdc1_in1k_pre_512x1024_80k_cityscapes", "stdc1", "backbone"),
        ("bisenetv1_r18_d32_in1k_pre_4x4_1024x1024_160k_cityscapes", "resnet18_v1c", "context_path.backbone"),
    ],
)
def test_a_backbone_within_the_backbone_is_started(model: str, start: str, part: str) -> None:
    recipe = find(model).recipe
    assert recipe is not None
    assert recipe.backbone_weights == start
    inner = backbone_of(start)
    state = random_state(inner.get_submodule(getattr(inner, "pretrained_part", "")))
    backbone = backbone_of(model)
    found = load_start(backbone, state, find_backbone(start), source="x")
    loaded = backbone.get_submodule(part).state_dict()
    fresh = set(found.fresh)
    assert all(torch.equal(value, state[name]) for name, value in loaded.items() if name in state)
    # BiSeNetV1 has the plain stem, the file the deep one: as published, the stem starts at random.
    assert {name.split(".")[0] for name in fresh} == ({"conv1", "bn1"} if "bisenet" in model else set())


def test_norms_of_the_outputs_are_not_in_a_classifiers_file() -> None:
    about = find_backbone("swin_tiny_patch4_window7_224_20220317")
    backbone = backbone_of(about.name)
    state = random_state(backbone)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    tensors = {name: value for name, value in state.items() if not name.startswith("norm")}
    start = load_start(backbone, {**tensors, "norm.weight": torch.ones(768)}, about, source="x")
    assert start.fresh == tuple(f"norm{i}.{leaf}" for i in range(4) for leaf in ("weight", "bias"))
    assert start.unused == ("norm.weight",)
    after = backbone.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in start.fresh)
    assert torch.equal(after["stages.0.blocks.0.norm1.weight"], state["stages.0.blocks.0.norm1.weight"])


def timm_name(name: str) -> str:
    """A published name of a vision transformer's tensor as timm has it."""
    for ours, theirs in (
        ("layers.", "blocks."),
        ("patch_embed.projection", "patch_embed.proj"),
        (".ln1.", ".norm1."),
        (".ln2.", ".norm2."),
        (".attn.attn.in_proj_", ".attn.qkv."),
        (".attn.attn.out_proj.", ".attn.proj."),
        (".ffn.blocks.0.0.", ".mlp.fc1."),
        (".ffn.blocks.1.", ".mlp.fc2."),
    ):
        name = name.replace(ours, theirs)
    return name


def test_timms_names_are_known_and_positions_are_interpolated() -> None:
    about = find_backbone("deit_small_patch16_224")
    backbone = backbone_of(about.name)
    state = random_state(backbone)
    state["pos_embed"] = torch.ones(1, 1 + 14 * 14, 384)  # 224 pixels; the backbone has 512
    tensors = {timm_name(name): value for name, value in state.items()}
    assert "blocks.3.attn.qkv.weight" in tensors
    assert "blocks.3.mlp.fc2.bias" in tensors
    start = load_start(backbone, {**tensors, "head.weight": torch.zeros(1)}, about, source="x")
    assert start.resized == ("pos_embed",)
    assert start.unused == ("head.weight",)
    assert start.fresh == ()
    after = backbone.state_dict()
    assert after["pos_embed"].shape == (1, 1 + 32 * 32, 384)
    torch.testing.assert_close(after["pos_embed"], torch.ones(1, 1 + 32 * 32, 384))
    assert torch.equal(after["layers.3.attn.attn.in_proj_weight"], state["layers.3.attn.attn.in_proj_weight"])


def test_what_a_file_lacks_is_named_and_nothing_is_loaded() -> None:
    about = find_backbone("mit_b0")
    backbone = backbone_of("mit_b0")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = random_state(backbone)
    name = next(iter(state))
    with pytest.raises(StateDictMismatchError, match=name):
        load_start(backbone, {key: value for key, value in state.items() if key != name}, about, source="x")
    with pytest.raises(StateDictMismatchError, match=name):
        load_start(backbone, {**state, name: torch.zeros(2)}, about, source="x")
    with pytest.raises(StateDictMismatchError, match="nothing that the backbone has"):
        load_start(backbone, {"other": torch.zeros(2)}, about, source="x")
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_a_table_that_is_no_square_is_refused() -> None:
    about = find_backbone("deit_small_patch16_224")
    backbone = backbone_of(about.name)
    state = random_state(backbone)
    with pytest.raises(StateDictMismatchError, match="pos_embed"):
        load_start(backbone, {**state, "pos_embed": torch.zeros(1, 100, 384)}, about, source="x")


def test_an_unknown_start_and_one_without_address_are_refused() -> None:
    backbone = nn.Conv2d(1, 1, 1)
    with pytest.raises(UnknownNameError, match="resnet50_v1c"):
        start_backbone(backbone, "resnet50v1c")
    with pytest.raises(DownloadError, match="has refused access since 2023"):
        start_backbone(backbone, "beit_base_patch16_224_pt22k_ft22k")


def test_create_backbone_takes_the_name_of_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    with pytest.raises(OfflineError, match="resnet18_v1c"):
        segzoo.create_backbone("resnet18_v1c", pretrained=True)
    fresh = segzoo.create_backbone("resnet18_v1c", out_indices=(3,))
    assert fresh.channels == (512,)
    with pytest.raises(OptionError):
        segzoo.create_backbone("stdc1", out_indices=(1,))
    # A mirror of the published address, in which the file has the published hash's first digits.
    state = random_state(fresh)
    path = tmp_path / "resnet18_v1c.pth"
    torch.save(state, path)
    monkeypatch.setattr(
        "segzoo.weights.starting.find_backbone",
        lambda name: BackboneWeights(name, find_backbone(name).backbone, Weights((path.as_uri(),))),
    )
    started = segzoo.create_backbone("resnet18_v1c", pretrained=True)
    assert all(torch.equal(value, state[name]) for name, value in started.state_dict().items())


def test_names_of_starts_and_of_models_do_not_meet() -> None:
    assert not set(backbones()) & {name for entry in default_index().entries.values() for name in entry.names}


@pytest.mark.large
def test_every_start_fits_the_backbones_of_the_recipes_that_name_it() -> None:
    seen = set()
    for entry in default_index().entries.values():
        if entry.recipe is None or entry.recipe.backbone_weights is None:
            continue
        about = find_backbone(entry.recipe.backbone_weights)
        key = (entry.architecture.backbone.type, str(entry.architecture.backbone.arguments), about.name)
        if key in seen:
            continue
        seen.add(key)
        with torch.device("meta"):
            own, made_for = component(BACKBONES, entry.architecture.backbone), component(BACKBONES, about.backbone)
        wanted = own.get_submodule(getattr(own, "pretrained_part", "")).state_dict()
        given = made_for.get_submodule(getattr(made_for, "pretrained_part", "")).state_dict()
        for name, value in wanted.items():
            if name == "pos_embed" or (name not in given and entry.architecture.backbone.type == "BiSeNetV1"):
                continue
            if name.startswith("ln1.") and name not in given:
                continue
            assert given[name].shape == value.shape, (entry.name, name)
    assert len(seen) > 60
