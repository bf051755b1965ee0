"""Every method is trained on what the published implementation trains it on."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.parity import GOLDEN, fill, image
from segzoo.build import build, labels_of
from segzoo.errors import InputSizeError, RecipeError
from segzoo.heads.danet import DAHead
from segzoo.heads.encnet import EncHead
from segzoo.heads.fcn import FCNHead
from segzoo.heads.knet import IterativeDecodeHead
from segzoo.heads.point_rend import PointHead
from segzoo.heads.stdc import STDCHead
from segzoo.index import find
from segzoo.layers.drop_path import DropPath
from segzoo.layers.resize import resize
from segzoo.recipe import HeadLoss, Losses, LossTerm
from segzoo.segmentor import Segmentor
from segzoo.training import compute_losses, total_loss
from segzoo.training import losses as functions

PUBLISHED = json.loads((GOLDEN / "losses.json").read_text())
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3
# Gradients in which rounding shows: batch norms over few values magnify it. What was measured in float32, and half as
# much again; of those that were also computed in float64, both float32 figures, the published and ours, are off by as
# much (ocrnet_r101: 0.0025 and 0.0042).
ROUNDED: dict[str, float] = {
    "ann_r101-d8_512x1024_40k_cityscapes": 2e-03,
    "apcnet_r50-d8_512x1024_40k_cityscapes": 2e-03,
    "bisenetv1_r50-d32_4x4_1024x1024_160k_cityscapes": 3e-03,
    "ccnet_r101-d8_512x1024_40k_cityscapes": 3e-03,
    "deeplabv3_r50-d8_512x1024_40k_cityscapes": 3e-03,
    "deeplabv3_r50b-d8_512x1024_80k_cityscapes": 2e-03,
    "deeplabv3plus_r101-d16-mg124_512x1024_40k_cityscapes": 6e-03,
    "deeplabv3plus_r101b-d8_512x1024_80k_cityscapes": 2e-03,
    "deeplabv3plus_r50-d8_512x1024_40k_cityscapes": 2e-03,
    "emanet_r101-d8_512x1024_80k_cityscapes": 2e-03,
    "encnet_r101-d8_512x1024_40k_cityscapes": 2e-03,
    "fastfcn_r50-d32_jpu_psp_512x1024_80k_cityscapes": 5e-03,
    "fcn_d6_r101-d16_512x1024_40k_cityscapes": 3e-03,
    "fcn_d6_r101b-d16_512x1024_80k_cityscapes": 2e-03,
    "fpn_r101_512x1024_80k_cityscapes": 1e-02,
    "fpn_r50_512x1024_80k_cityscapes": 6e-03,
    "gcnet_r101-d8_512x1024_40k_cityscapes": 3e-02,
    "gcnet_r50-d8_512x1024_40k_cityscapes": 3e-02,
    "icnet_r101-d8_832x832_80k_cityscapes": 2e-02,
    "icnet_r50-d8_832x832_80k_cityscapes": 2e-03,
    "isanet_r101-d8_512x1024_40k_cityscapes": 5e-03,
    "isanet_r50-d8_512x1024_40k_cityscapes": 3e-03,
    "knet_s3_fcn_r50-d8_8x2_512x512_adamw_80k_ade20k": 3e-03,
    "knet_s3_upernet_r50-d8_8x2_512x512_adamw_80k_ade20k": 1e-02,
    "lraspp_m-v3-d8_512x1024_320k_cityscapes": 2e-03,
    "ocrnet_hr18s_512x1024_40k_cityscapes": 3e-03,
    "ocrnet_r101-d8_512x1024_40k_b8_cityscapes": 2e-02,
    "pspnet_r50-d32_rsb-pretrain_512x1024_adamw_80k_cityscapes": 2e-03,
    "pspnet_r50-d8_512x1024_40k_cityscapes": 2e-03,
    "danet_r101-d8_512x1024_40k_cityscapes": 6e-03,
    "nonlocal_r101-d8_512x1024_40k_cityscapes": 2e-03,
    "dnl_r101-d8_512x1024_40k_cityscapes": 4e-03,
    "dmnet_r101-d8_512x1024_40k_cityscapes": 3e-03,
    "psanet_r101-d8_512x512_80k_ade20k": 2e-03,
    "stdc2_512x1024_80k_cityscapes": 2e-02,
}
# Split attention norms one value a picture: with two pictures the sign of a difference is all that is left. In float64
# the published total norm is off by 0.35, ours by 0.81, a published loss by 4e-4.
CHAOTIC = tuple(name for name in PUBLISHED if "_s101-" in name)
# A second or two each on one core; the others as long as the machine has the time.
ALWAYS = (
    "bisenetv2_fcn_4x4_1024x1024_160k_cityscapes",
    "erfnet_fcn_4x4_512x1024_160k_cityscapes",
    "fast_scnn_lr0.12_8x4_160k_cityscapes",
    "fcn_hr18s_512x1024_40k_cityscapes",
    "pspnet_r18b-d8_512x1024_80k_cityscapes",
    "segformer_mit-b0_512x512_160k_ade20k",
    "segmenter_vit-t_mask_8x1_512x512_160k_ade20k",
    "stdc1_512x1024_80k_cityscapes",
)
NAMES = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.large) for name in PUBLISHED]


def labels_for(classes: int, height: int, width: int) -> Tensor:
    """Squares of 16 pixels of random classes, a twentieth of the pixels ignored; two pictures."""
    draw = np.random.RandomState(2)
    small = draw.randint(0, classes, (2, height // 16 + 1, width // 16 + 1))
    labels = small.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width].copy()
    labels[draw.random_sample((2, height, width)) < 0.05] = 255
    return torch.from_numpy(labels)


def step(name: str, dtype: torch.dtype) -> tuple[dict[str, float], dict[str, float], float]:
    """Losses, gradient norms and their total, of the reference's weights and batch, nothing dropped."""
    about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
    model = build(find(name), model_class=Segmentor, auxiliary=True)
    fill(model, about["norm_scale"], about["tied"])
    model.train().to(dtype)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d, DropPath)):
            module.p = 0.0
    height, width = PUBLISHED[name]["input"][2:]
    images = torch.cat([image(height, width, 0), image(height, width, 1)]).to(dtype)
    torch.manual_seed(0)  # PointRend's points
    losses = compute_losses(model, images, labels_for(model.num_classes, height, width))
    total_loss(losses).backward()
    norms = {k: p.grad.norm().item() for k, p in model.named_parameters() if p.grad is not None}
    return {k: v.item() for k, v in losses.items()}, norms, sum(n * n for n in norms.values()) ** 0.5


def disagreements(name: str, dtype: torch.dtype) -> Iterator[str]:
    """What differs from the published figures by more than the tolerances, each with how much."""
    published: dict[str, Any] = PUBLISHED[name]
    random = isinstance(find(name).architecture.decode_head, tuple) and "pointrend" in name
    losses, norms, total_norm = step(name, dtype)
    if set(losses) != set(published["losses"]):
        yield f"names {sorted(set(losses) ^ set(published['losses']))}"
    for key, expected in published["losses"].items():
        if random and "point" in key:
            continue
        # Half a thousandth of a percentage: a pixel whose two best classes tie in the last digit.
        bound = 5e-3 if "acc_" in key else LOSS_TOLERANCE * abs(expected)
        bound *= 20 if name in CHAOTIC else 1
        if not abs(losses[key] - expected) <= bound:
            yield f"{key} is {losses[key]}, not {expected}"
    if random or name in CHAOTIC:
        return
    limit = ROUNDED.get(name, GRADIENT_TOLERANCE)
    floor = 1e-6 * published["total_grad_norm"]
    for key, expected in {**published["grad_norms"], "all": published["total_grad_norm"]}.items():
        found = total_norm if key == "all" else norms[key]
        if not abs(found - expected) <= limit * max(expected, floor):
            yield f"gradient of {key} has the norm {found}, not {expected}"


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_equal_the_reference(name: str) -> None:
    # Rounding shows in float32 where batch norms see few values; float64 tells it from a mistake.
    found = list(disagreements(name, torch.float32)) and list(disagreements(name, torch.float64))
    assert not found


def test_the_same_parameters_are_left_without_gradients() -> None:
    for name in ("emanet_r50-d8_512x1024_80k_cityscapes", "fpn_poolformer_s12_8x4_512x512_40k_ade20k"):
        model = build(find(name), model_class=Segmentor, auxiliary=True, device="meta")
        frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
        assert sorted(frozen) == sorted(PUBLISHED[name]["no_grad"])
        assert frozen


class Pyramid(nn.Module):
    """The least backbone: four maps of 8 channels at strides 4 to 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv(x)
        return [nn.functional.avg_pool2d(x, stride) for stride in (4, 8, 16, 32)]


def iterative() -> nn.Module:
    first = FCNHead((8,), num_classes=3, channels=8, num_convs=1, concat_input=False)
    return IterativeDecodeHead(
        (8,), num_classes=3, kernel_generate_head=first, num_heads=2, feedforward_channels=8, update_channels=8
    )


SPECIAL: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "danet_r50-d8_512x1024_40k_cityscapes": (
        lambda: DAHead((8,), num_classes=3, channels=8, pam_channels=4),
        ("pam_cam.loss_ce", "pam.loss_ce", "cam.loss_ce", "pam_cam.acc_seg", "pam.acc_seg", "cam.acc_seg"),
    ),
    "encnet_r50-d8_512x1024_40k_cityscapes": (
        lambda: EncHead((8,) * 4, num_classes=3, channels=8, num_codes=4),
        ("loss_ce", "loss_se", "acc_seg"),
    ),
    "knet_s3_fcn_r50-d8_8x2_512x512_adamw_80k_ade20k": (
        iterative,
        tuple(f"{name}.s{i}" for i in range(4) for name in ("loss_ce", "acc_seg")),
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_heads_of_their_own_kind_have_the_published_losses(name: str) -> None:
    make, expected = SPECIAL[name]
    published = {key.removeprefix("decode.") for key in PUBLISHED[name]["losses"] if key.startswith("decode.")}
    assert published == set(expected)
    torch.manual_seed(0)
    model = segmentor(make())
    found = compute_losses(model, torch.randn(2, 3, 64, 96), labels_for(3, 64, 96), losses=Losses())
    assert set(found) == {f"decode.{key}" for key in expected}
    total_loss(found).backward()
    assert all(p.grad is not None for key, p in model.decode_head.named_parameters() if "conv_seg" in key)


def test_cascades_and_side_heads_have_the_published_losses() -> None:
    torch.manual_seed(0)
    first = FCNHead((8,) * 4, num_classes=3, channels=8, in_index=0, num_convs=1, concat_input=False)
    points = PointHead((8,) * 4, num_classes=3, channels=8, in_index=[0])
    edges = STDCHead((8,) * 4, num_classes=2, channels=8, in_index=0, num_convs=1, concat_input=False)
    other = FCNHead((8,) * 4, num_classes=3, channels=8, in_index=1, num_convs=1, concat_input=False)
    model = segmentor(nn.ModuleList([first, points]), nn.ModuleList([other, edges])).eval()
    two = HeadLoss((LossTerm("binary_cross_entropy"), LossTerm("dice", 0.5)))
    images, labels = torch.randn(2, 3, 64, 96), labels_for(3, 64, 96)
    found = compute_losses(model, images, labels, losses=Losses(auxiliary=(HeadLoss(), two)))
    names = ["decode_0.loss_ce", "decode_0.acc_seg", "decode_1.pointloss_ce", "decode_1.acc_point"]
    names += ["aux_0.loss_ce", "aux_0.acc_seg", "aux_1.loss_ce", "aux_1.loss_dice", "aux_1.acc_seg"]
    assert list(found) == names
    assert set(names[:4]) == set(PUBLISHED["pointrend_r50_512x1024_80k_cityscapes"]["losses"])
    logits = resize(edges(model.features(images)), (64, 96), align_corners=False)
    boundary = functions.binary_cross_entropy(logits, edges.boundaries(labels))
    assert found["aux_1.loss_ce"].item() == pytest.approx(boundary.item(), rel=1e-5)


def segmentor(decode_head: nn.Module, auxiliary_head: nn.Module | None = None) -> Segmentor:
    entry = find("fast_scnn_drawn_streets")
    return Segmentor(
        entry=entry,
        backbone=Pyramid(),
        decode_head=decode_head,
        auxiliary_head=auxiliary_head,
        classes=("a", "b", "c"),
        palette=((0, 0, 0),) * 3,
    )


@functools.cache
def small_model() -> Segmentor:
    torch.manual_seed(0)
    return build(find("fast_scnn_drawn_streets"), model_class=Segmentor).eval()


def small_batch() -> tuple[Tensor, Tensor]:
    model = small_model()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    return images, labels_for(model.num_classes, 64, 96)


def test_an_entry_without_a_recipe_is_trained_on_cross_entropy() -> None:
    images, labels = small_batch()
    model = small_model()
    entry, usual = model.entry, Losses()
    assert compute_losses(model, images, labels, losses=usual).keys() == {"decode.loss_ce", "decode.acc_seg"}
    expected = nn.functional.cross_entropy(model(images), labels, ignore_index=255, reduction="sum") / labels.numel()
    assert compute_losses(model, images, labels, losses=usual)["decode.loss_ce"].item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    assert model.entry is entry
    assert not model.training


def test_a_stride_looks_at_every_nth_pixel() -> None:
    images, labels = small_batch()
    model = small_model()
    found = compute_losses(model, images, labels, losses=Losses(stride=3))["decode.loss_ce"]
    few = labels[:, ::3, ::3]
    logits = model(images)[:, :, ::3, ::3]
    expected = nn.functional.cross_entropy(logits, few, ignore_index=255, reduction="sum") / few.numel()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_terms_of_one_name_are_summed_and_weighted() -> None:
    images, labels = small_batch()

    def losses(*terms: LossTerm) -> dict[str, Tensor]:
        return compute_losses(small_model(), images, labels, losses=Losses(decode=(HeadLoss(terms),)))

    both = losses(LossTerm("cross_entropy", 2.0), LossTerm("binary_cross_entropy", 0.5), LossTerm("lovasz", 3.0))
    ce, bce = losses(LossTerm())["decode.loss_ce"], losses(LossTerm("binary_cross_entropy"))["decode.loss_ce"]
    assert both["decode.loss_ce"].item() == pytest.approx(2 * ce.item() + 0.5 * bce.item(), rel=1e-6)
    assert both["decode.loss_lovasz"].item() == pytest.approx(
        3 * losses(LossTerm("lovasz"))["decode.loss_lovasz"].item()
    )
    assert total_loss(both).item() == pytest.approx(
        both["decode.loss_ce"].item() + both["decode.loss_lovasz"].item(), rel=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_are_taken_in_single_precision_under_autocast(dtype: torch.dtype) -> None:
    images, labels = small_batch()
    with torch.autocast("cpu", dtype=dtype):
        found = compute_losses(small_model(), images, labels, losses=Losses())
    exact = compute_losses(small_model(), images, labels, losses=Losses())
    assert found["decode.loss_ce"].dtype == torch.float32
    assert found["decode.loss_ce"].item() == pytest.approx(exact["decode.loss_ce"].item(), rel=0.02)


def test_points_are_drawn_anew_at_every_call() -> None:
    entry = find("pointrend_r50_512x1024_80k_cityscapes")
    assert entry.recipe is not None
    assert entry.recipe.losses.points.num_points == 2048
    head = PointHead((4,), num_classes=3, channels=4, in_index=[0])
    coarse = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (head.training_points(coarse, num_points=16) for _ in range(2))
    assert first.shape == (1, 16, 2)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda labels: labels.float(), "float32"),
        (lambda labels: labels[:, :-1], r"of shape \(2, 64, 96\)"),
        (lambda labels: labels.masked_fill(labels == 255, 13), "a label is 13, but there are 13 classes"),
        (lambda labels: labels - 1, "a label is"),
    ],
)
def test_wrong_labels_are_refused(change: Any, says: str) -> None:
    images, labels = small_batch()
    with pytest.raises(InputSizeError, match=says):
        compute_losses(small_model(), images, change(labels))


def test_losses_that_do_not_fit_the_model_are_refused() -> None:
    images, labels = small_batch()
    with pytest.raises(RecipeError, match="losses for 2 'decode' heads, but the model has 1"):
        compute_losses(small_model(), images, labels, losses=Losses(decode=(HeadLoss(), HeadLoss())))
    weights = Losses(decode=(HeadLoss((LossTerm(class_weight=(1.0, 2.0)),)),))
    with pytest.raises(RecipeError, match="2 class weights for 13 classes"):
        compute_losses(small_model(), images, labels, losses=weights)


def test_another_number_of_classes_keeps_the_recipe() -> None:
    entry = find("fast_scnn_lr0.12_8x4_160k_cityscapes")
    model = build(entry, model_class=Segmentor, labels=labels_of(entry, 3), auxiliary=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = compute_losses(model, images, labels_for(3, 64, 64))
    assert {"decode.loss_ce", "aux_0.loss_ce", "aux_1.loss_ce"} <= set(found)
    assert all(torch.isfinite(value) for value in found.values())
