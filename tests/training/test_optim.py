"""Which parameters get which learning rate and decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segzoo.build import build
from segzoo.errors import OptionError
from segzoo.index import find
from segzoo.recipe import LayerDecay, OptimizerSpec, ParameterGroup
from segzoo.segmentor import Segmentor
from segzoo.training.optim import build_optimizer, parameter_factors

GROUPS = OptimizerSpec(
    "AdamW",
    6e-5,
    0.01,
    groups=(
        ParameterGroup("pos_block", weight_decay=0.0),
        ParameterGroup("norm", weight_decay=0.0),
        ParameterGroup("head", lr=10.0),
    ),
)


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("backbone.layers.0.0.projection.weight", (1.0, 1.0)),
        ("backbone.layers.0.0.norm.weight", (1.0, 0.0)),
        ("decode_head.conv_seg.weight", (10.0, 1.0)),
        # 'head' and 'norm' are equally long: the alphabetically first counts, as published.
        ("decode_head.mask_norm.weight", (10.0, 1.0)),
        ("decode_head.pos_block.weight", (1.0, 0.0)),
    ],
)
def test_the_longest_fitting_group_counts(name: str, factors: tuple[float, float]) -> None:
    assert parameter_factors(GROUPS, name, 2) == factors


@pytest.mark.parametrize(
    ("name", "ndim", "depth", "decayed"),
    [
        ("backbone.cls_token", 3, 0, True),
        ("backbone.patch_embed.projection.weight", 4, 0, True),
        ("backbone.patch_embed.projection.bias", 1, 0, False),
        ("backbone.layers.0.attn.qkv.weight", 2, 1, True),
        ("backbone.layers.0.gamma_1", 1, 1, False),
        ("backbone.layers.11.ln1.weight", 1, 12, False),
        ("decode_head.conv_seg.weight", 4, 13, True),
        ("neck.upsample_4x.0.weight", 4, 13, True),
    ],
)
def test_layers_learn_the_slower_the_nearer_to_the_input(name: str, ndim: int, depth: int, decayed: bool) -> None:
    spec = OptimizerSpec("AdamW", 3e-5, 0.05, layer_decay=LayerDecay("layer", 0.9, 12))
    rate, decay = parameter_factors(spec, name, ndim)
    assert rate == pytest.approx(0.9 ** (13 - depth))
    assert decay == float(decayed)


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("backbone.downsample_layers.3.1.weight", 0),
        ("backbone.stages.0.0.depthwise_conv.weight", 1),
        ("backbone.stages.3.2.pointwise_conv1.weight", 4),
        ("backbone.norm3.weight", 13),
        ("auxiliary_head.conv_seg.weight", 13),
    ],
)
def test_stages_learn_the_slower_the_nearer_to_the_input(name: str, depth: int) -> None:
    spec = OptimizerSpec("AdamW", 1e-4, 0.05, layer_decay=LayerDecay("stage", 0.9, 12))
    assert parameter_factors(spec, name, 2)[0] == pytest.approx(0.9 ** (13 - depth))


def test_groups_hold_every_parameter_once() -> None:
    entry = find("segformer_mit-b0_512x512_160k_ade20k")
    model = build(entry, model_class=Segmentor)
    assert entry.recipe is not None
    optimizer = build_optimizer(model, entry.recipe.optimizer)
    assert isinstance(optimizer, torch.optim.AdamW)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    settings = {(round(g["lr"], 9), g["weight_decay"]) for g in optimizer.param_groups}
    assert settings == {(6e-5, 0.01), (6e-5, 0.0), (6e-4, 0.01)}
    by_id = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        group = by_id[id(parameter)]
        assert group["lr"] == pytest.approx(6e-4 if "head" in name else 6e-5)
        assert (group["weight_decay"] == 0) == ("norm" in name and "head" not in name)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, OptimizerSpec(lr=0.5))
    assert [tuple(p.shape) for p in optimizer.param_groups[0]["params"]] == [(1, 3), (1,)]
    model.requires_grad_(False)
    with pytest.raises(OptionError, match="all are frozen"):
        build_optimizer(model, OptimizerSpec())


def test_one_step_of_each_optimizer_is_the_textbooks() -> None:
    def after(spec: OptimizerSpec, steps: int) -> float:
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0)
        optimizer = build_optimizer(layer, spec)
        for _ in range(steps):
            optimizer.zero_grad()
            layer(torch.tensor([[3.0]])).sum().backward()  # the gradient is 3
            optimizer.step()
        return layer.weight.item()

    # Momentum: v = g, then 0.9 v + g; decay adds 0.1 w to the gradient.
    first = 2 - 0.01 * (3 + 0.1 * 2)
    velocity = 0.9 * (3 + 0.1 * 2) + 3 + 0.1 * first
    assert after(OptimizerSpec("SGD", 0.01, 0.1), 2) == pytest.approx(first - 0.01 * velocity)
    assert after(OptimizerSpec("AdamW", 0.01, 0.1), 1) == pytest.approx(2 * (1 - 0.001) - 0.01)
    assert after(OptimizerSpec("Adam", 0.01, 0.0), 1) == pytest.approx(2 - 0.01)
