"""Recipes: read, checked, overridden and written; those of the index are the published ones."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from segzoo.describe import describe
from segzoo.errors import IndexSchemaError, RecipeError
from segzoo.index import default_index
from segzoo.index_backbones import backbones
from segzoo.index_schema import read_entries
from segzoo.recipe import (
    Augmentation,
    HardPixels,
    HeadLoss,
    LayerDecay,
    Losses,
    LossTerm,
    OptimizerSpec,
    ParameterGroup,
    Recipe,
    ScheduleSpec,
)

ENTRIES = default_index().entries
PUBLISHED = json.loads((Path(__file__).parent / "golden" / "published_training.json").read_text())
RECIPE = Recipe(iterations=80000, batch_size=16)
RICH = Recipe(
    iterations=1000,
    batch_size=8,
    optimizer=OptimizerSpec("AdamW", 1e-4, 0.05, layer_decay=LayerDecay("stage", 0.9, 12)),
    schedule=ScheduleSpec("step", steps=(600, 800), warmup="linear", warmup_iterations=100),
    augmentation=Augmentation(scale=(2048, 512), crop_size=(512, 512)),
    losses=Losses(decode=(HeadLoss((LossTerm(class_weight=(1.0, 2.0)),), HardPixels(100, 0.7)),)),
    precision="float16",
    clip_norm=1.0,
    backbone_weights="resnet50_v1c",
)


@pytest.mark.parametrize("recipe", [RECIPE, RICH])
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_fields_left_out_have_their_defaults() -> None:
    assert Recipe.from_dict({"iterations": 80000, "batch_size": 16}) == RECIPE


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("iterations=2000", {"iterations": 2000}),
        ("optimizer.lr=1e-3", {"optimizer": {"lr": 0.001}}),
        ("optimizer.lr=1", {"optimizer": {"lr": 1.0}}),
        ("clip_norm=null", {"clip_norm": None}),
        ("augmentation.crop_size=[64, 96]", {"augmentation": {"crop_size": [64, 96]}}),
        ("augmentation.photometric=false", {"augmentation": {"photometric": False}}),
        ("losses.decode.0.terms.0.weight=2", {"losses": {"decode": {0: {"terms": {0: {"weight": 2.0}}}}}}),
        ("optimizer.groups=[{match: head, lr: 10}]", {"optimizer": {"groups": {0: {"lr": 10.0, "weight_decay": 1.0}}}}),
    ],
)
def test_a_setting_replaces_one_field(setting: str, expected: dict[Any, Any]) -> None:
    changed = RECIPE.override([setting]).as_dict()

    def check(whole: Any, part: Any) -> None:
        for key, value in part.items():
            if isinstance(value, dict):
                check(whole[key], value)
            else:
                assert whole[key] == value

    check(changed, expected)
    kept, other = RECIPE.as_dict(), setting.split("=")[0].split(".")[0]
    del kept[other], changed[other]
    assert changed == kept


def test_settings_are_applied_in_order_and_checked_together() -> None:
    assert RECIPE.override(["iterations=1", "iterations=2"]).iterations == 2
    changed = RECIPE.override(["schedule.policy=step", "schedule.steps=[10, 20]"])
    assert changed.schedule.steps == (10, 20)
    assert RECIPE.iterations == 80000


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("speed=1", "no field speed; there are iterations"),
        ("optimizer.rate=1", "no field optimizer.rate; there are name, lr"),
        ("optimizer.lr=fast", "optimizer.lr must be float, not 'fast'"),
        ("optimizer.lr=.nan", "optimizer.lr must be float"),
        ("optimizer.lr=-1", "optimizer.lr must be a finite number of at least 0"),
        ("optimizer.name=Lion", "optimizer.name must be one of SGD, Adam, AdamW"),
        ("optimizer.betas.1=1", "optimizer.betas"),
        ("iterations=1.5", "iterations must be int"),
        ("iterations=true", "iterations must be int"),
        ("iterations=0", "iterations must be at least 1"),
        ("iterations", "write field=value"),
        ("=1", "write field=value"),
        ("iterations=[", "cannot be read"),
        ("precision=int8", "precision must be one of float32"),
        ("augmentation=3", "augmentation must be a mapping"),
        ("augmentation.crop_size=[64]", "augmentation.crop_size must be a list of 2 int"),
        ("augmentation.ratio_range=[2, 1]", "two rising numbers"),
        ("clip_norm.value=1", "clip_norm is None and has no fields"),
        ("losses.decode.3.weight=1", "losses.decode is a list of 1"),
        ("losses.decode=[]", "losses.decode must be one or more"),
        ("losses.decode.0.terms.0={name: dice, class_weight: [1]}", "dice has no class_weight"),
        ("optimizer.layer_decay={kind: layer}", "field optimizer.layer_decay.rate is missing"),
        ("schedule.policy=step", "schedule.steps must be given for 'step' only"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(setting: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        RECIPE.override([setting])
    assert says in str(caught.value)


def test_groups_and_layer_decay_exclude_each_other() -> None:
    with pytest.raises(RecipeError, match="exclude each other"):
        OptimizerSpec(groups=(ParameterGroup("norm"),), layer_decay=LayerDecay("layer", 0.9, 12))


METHOD_FILE = """
method: Testnet
paper: {title: A test, url: https://example.org}
protocols:
  whole: {mean: [1, 2, 3], std: [1, 1, 1], mode: whole}
architectures:
  r18:
    backbone: {type: ResNet, depth: 18}
    decode_head: {type: FCNHead, channels: 8}
recipes:
  sgd:
    optimizer: {name: SGD, lr: 0.02}
    augmentation: {scale: [2048, 1024]}
entries:
  testnet_a:
    architecture: r18
    backbone: R-18
    dataset: cityscapes
    num_classes: 19
    align_corners: false
    protocol: whole
    crop_size: [512, 1024]
    iterations: 100
    batch_size: 8
    recipe: {base: sgd, clip_norm: 1}
    weights: {addresses: ["https://example.org/a.pth"]}
"""


def read(tmp_path: Path, old: str = "", new: str = "") -> Recipe:
    assert old in METHOD_FILE
    path = tmp_path / "testnet.yaml"
    path.write_text(METHOD_FILE.replace(old, new) if old else METHOD_FILE)
    (entry,) = read_entries(path)
    assert entry.recipe is not None
    return entry.recipe


def test_an_entry_completes_its_files_recipe(tmp_path: Path) -> None:
    assert read(tmp_path) == Recipe(
        iterations=100,
        batch_size=8,
        optimizer=OptimizerSpec(lr=0.02),
        augmentation=Augmentation(scale=(2048, 1024), crop_size=(512, 1024)),
        clip_norm=1.0,
    )
    assert read(tmp_path, "clip_norm: 1", "batch_size: 32").batch_size == 32


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("base: sgd", "base: adam", r"entry 'testnet_a'.recipe: field 'base' names 'adam'"),
        ("clip_norm: 1", "speed: 1", "entry 'testnet_a'.recipe: recipe: there is no field speed"),
        ("lr: 0.02", "rate: 0.02", "recipes.sgd: recipe: there is no field optimizer.rate"),
        ("lr: 0.02", "lr: fast", "recipes.sgd: recipe: optimizer.lr must be float"),
        ("    iterations: 100\n", "", "field 'iterations' is missing, and the entry has none"),
    ],
)
def test_a_recipe_that_is_none_is_named_by_file_and_entry(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(IndexSchemaError, match=re.escape(says) if "'" not in says else says) as caught:
        read(tmp_path, old, new)
    assert "testnet.yaml" in str(caught.value)


def test_info_shows_the_recipe_in_a_few_lines() -> None:
    text = describe(ENTRIES["stdc1_in1k_pre_512x1024_80k_cityscapes"], width=200)
    lines = [line for line in text.splitlines() if line.strip()]
    for expected in (
        "starts from       stdc1",
        "optimizer         SGD, learning rate 0.01, weight decay 0.0005, momentum 0.9",
        "schedule          poly, power 0.9, to 0.0001; linear warm-up over 1000",
        "losses            1 x cross entropy of the hardest pixels",
    ):
        assert any(line.strip() == expected for line in lines), expected
    groups = describe(ENTRIES["segformer_mit_b0_512x512_160k_ade20k"], width=200)
    assert "; head: rate x 10" in groups
    assert "norm: decay x 0" in groups


def test_every_published_entry_has_a_recipe() -> None:
    assert {name for name, entry in ENTRIES.items() if entry.recipe is not None} >= set(PUBLISHED["entries"])
    assert len(PUBLISHED["entries"]) == 602


def _optimizer(published: dict[str, Any]) -> OptimizerSpec:
    """What a published optimizer's settings mean."""
    rules = published.get("paramwise_cfg", {})
    decay = None
    if "layer_decay_rate" in rules:
        decay = LayerDecay("layer", rules["layer_decay_rate"], rules["num_layers"])
    elif "decay_rate" in rules:
        assert rules["decay_type"] == "stage_wise"
        decay = LayerDecay("stage", rules["decay_rate"], rules["num_layers"])
    groups = [
        ParameterGroup(key, float(value.get("lr_mult", 1)), float(value.get("decay_mult", 1)))
        for key, value in rules.get("custom_keys", {}).items()
        if {"lr_mult", "decay_mult"} & set(value)  # 'wd_mult' of DNLNet is read by nothing
    ]
    return OptimizerSpec(
        published["type"],
        published["lr"],
        published["weight_decay"],
        groups=tuple(groups),
        layer_decay=decay,
        **({"momentum": published["momentum"]} if "momentum" in published else {}),
    )


def _schedule(published: dict[str, Any]) -> ScheduleSpec:
    """What a published schedule's settings mean; 0.1 is the published default of the warm-up's ratio."""
    warm = {}
    if published.get("warmup"):
        warm = {
            "warmup": published["warmup"],
            "warmup_iterations": published["warmup_iters"],
            "warmup_ratio": published.get("warmup_ratio", 0.1),
        }
    if published["policy"] == "step":
        return ScheduleSpec("step", min_lr=0.0, steps=tuple(published["step"]), **warm)
    return ScheduleSpec("poly", published["power"], published["min_lr"], **warm)


@pytest.mark.parametrize("name", PUBLISHED["entries"])
def test_recipes_are_the_published_ones(name: str) -> None:
    recipe = ENTRIES[name].recipe
    optimizer, schedule, per_device, crop, scale, pretrained = PUBLISHED["entries"][name]
    assert recipe is not None
    assert recipe.optimizer == _optimizer(PUBLISHED["optimizers"][optimizer])
    expected = _schedule(PUBLISHED["schedules"][schedule])
    # Published iterations are passes; where several share a step, a recipe counts the steps.
    passes = recipe.accumulate
    assert recipe.schedule == dataclasses.replace(expected, warmup_iterations=expected.warmup_iterations // passes)
    assert recipe.batch_size % per_device == 0
    assert recipe.augmentation.crop_size == tuple(crop)
    assert recipe.augmentation.scale == tuple(scale)
    assert recipe.iterations * passes == ENTRIES[name].iterations
    assert (recipe.backbone_weights is None) == (pretrained is None)
    if pretrained is not None and pretrained.startswith("https://"):
        start = backbones()[str(recipe.backbone_weights)]
        assert start.weights is not None
        assert start.weights.addresses == (pretrained,)


def test_losses_of_the_methods_are_the_published_ones() -> None:
    def losses(name: str) -> Losses:
        recipe = ENTRIES[name].recipe
        assert recipe is not None
        return recipe.losses

    usual = losses("pspnet_r50_d8_512x1024_40k_cityscapes")
    assert usual == Losses()
    boundary = losses("stdc1_512x1024_80k_cityscapes").auxiliary[2]
    assert [(term.name, term.weight) for term in boundary.terms] == [("binary_cross_entropy", 1.0), ("dice", 1.0)]
    assert losses("stdc1_512x1024_80k_cityscapes").decode[0].hard_pixels == HardPixels(10000, 0.7)
    vessels = losses("fcn_unet_s5_d16_ce_1_0_dice_3_0_64x64_40k_drive").decode[0]
    assert [(term.name, term.weight) for term in vessels.terms] == [("cross_entropy", 1.0), ("dice_per_class", 3.0)]
    assert losses("deeplabv3_r101_d16_mg124_512x1024_80k_cityscapes").decode[0].hard_pixels == HardPixels(100000)
    assert losses("fast_scnn_lr0_12_8x4_160k_cityscapes").decode[0].terms[0].name == "binary_cross_entropy"
    assert losses("cgnet_680x680_60k_cityscapes").decode[0].terms[0].class_weight[0] == 2.5959933  # type: ignore[index]


def test_precision_and_clipping_are_the_published_ones() -> None:
    for name, entry in ENTRIES.items():
        if entry.recipe is not None:
            assert (entry.recipe.precision == "float16") == ("_fp16_" in name), name
            assert (entry.recipe.clip_norm == 1.0) == name.startswith("knet"), name
    beit = ENTRIES["upernet_beit_large_fp16_8x1_640x640_160k_ade20k"].recipe
    assert beit is not None
    assert (beit.accumulate, beit.batch_size, beit.iterations) == (2, 16, 160000)


def test_every_starting_point_is_named_by_a_recipe() -> None:
    named = {entry.recipe.backbone_weights for entry in ENTRIES.values() if entry.recipe is not None} - {None}
    assert named == set(backbones())
    assert {name for name, start in backbones().items() if start.weights is None} == {
        "beit_base_patch16_224_pt22k_ft22k",
        "beit_large_patch16_224_pt22k_ft22k",
        "vit_base_patch16_224",
    }
