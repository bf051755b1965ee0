from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.build import build, labels_of
from segzoo.errors import IndexSchemaError, UnknownNameError
from segzoo.heads.fcn import FCNHead
from segzoo.heads.knet import IterativeDecodeHead, KernelUpdate, KernelUpdateHead
from segzoo.index import ModuleSpec, default_index, find
from segzoo.index_schema import read_entries
from segzoo.segmentor import Segmentor


def randomise(module: nn.Module) -> None:
    """Norms at their initial values would hide which of them is used where."""
    for parameter in module.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)


def test_the_update_is_the_papers() -> None:
    torch.manual_seed(0)
    layer = KernelUpdate(4)
    randomise(layer)
    gathered, kernels = torch.randn(2, 3, 4), torch.randn(2, 3, 4)

    def linear(module: nn.Linear, x: Tensor) -> Tensor:
        return torch.einsum("oi,bni->bno", module.weight, x) + module.bias

    def norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(2, keepdim=True)
        return centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt() * module.weight + module.bias

    dynamic, static = linear(layer.dynamic_layer, gathered), linear(layer.input_layer, kernels)
    product = dynamic[..., :4] * static[..., :4]
    keep = 1 / (1 + torch.exp(-norm(layer.input_norm_in, linear(layer.input_gate, product))))
    update = 1 / (1 + torch.exp(-norm(layer.norm_in, linear(layer.update_gate, product))))
    mixed = update * norm(layer.norm_out, dynamic[..., 4:]) + keep * norm(layer.input_norm_out, static[..., 4:])
    expected = norm(layer.fc_norm, linear(layer.fc_layer, mixed)).clamp(min=0)
    torch.testing.assert_close(layer(gathered, kernels), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def stage() -> KernelUpdateHead:
    torch.manual_seed(0)
    head = KernelUpdateHead(8, num_heads=2, feedforward_channels=16, num_mask_fcs=1, update_channels=4)
    randomise(head)
    return head.eval()


def test_a_stage_written_out(stage: KernelUpdateHead) -> None:
    features, kernels, masks = torch.randn(2, 8, 3, 5), torch.randn(2, 6, 8), torch.randn(2, 6, 3, 5)
    x = F.conv2d(features, stage.feat_transform.conv.weight, stage.feat_transform.conv.bias)
    gathered = torch.zeros(2, 6, 8)
    for i in range(3):
        for j in range(5):
            shares = masks[:, :, i, j].exp() / masks[:, :, i, j].exp().sum(1, keepdim=True)
            gathered += shares[:, :, None] * x[:, None, :, i, j]
    halves = [stage.kernel_update_conv(gathered[..., part], kernels[..., part]) for part in (slice(0, 4), slice(4, 8))]
    updated = torch.cat(halves, dim=2)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    attention.load_state_dict(stage.attention.attn.state_dict())
    updated = stage.attention_norm(updated + attention(updated, updated, updated)[0])
    updated = stage.ffn_norm(updated + stage.ffn(updated))
    weights = stage.fc_mask(stage.mask_fcs(updated))
    expected = torch.stack([F.conv2d(x[n], weights[n, :, :, None, None]) for n in range(2)])
    found, found_kernels = stage(features, kernels, masks)
    torch.testing.assert_close(found_kernels, updated, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_half_precision_does_not_overflow_where_features_are_gathered(stage: KernelUpdateHead) -> None:
    features = torch.full((1, 8, 64, 64), 40.0)  # 4096 positions times 40 is beyond float16
    masks = torch.zeros(1, 2, 64, 64)
    masks[:, 0] = 20
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        logits, kernels = stage(features, torch.randn(1, 2, 8), masks)
    assert logits.isfinite().all()
    assert kernels.isfinite().all()


def test_the_classifier_gives_the_first_kernels_and_masks() -> None:
    torch.manual_seed(0)
    first = FCNHead((3, 8), num_classes=5, channels=8, num_convs=1)
    head = IterativeDecodeHead(
        (3, 8),
        num_classes=5,
        kernel_generate_head=first,
        num_stages=2,
        num_heads=2,
        feedforward_channels=16,
        update_channels=4,
    ).eval()
    features = [torch.randn(2, 3, 8, 8), torch.randn(2, 8, 4, 4)]
    stages = head.stages(features)
    assert len(stages) == 3
    torch.testing.assert_close(stages[0], first(features))
    x = first.embed(features)
    kernels = first.conv_seg.weight[:, :, 0, 0].expand(2, 5, 8)
    second, kernels = head.kernel_update_head[0](x, kernels, stages[0])
    third, _ = head.kernel_update_head[1](x, kernels, second)
    torch.testing.assert_close(stages[1], second)
    torch.testing.assert_close(stages[2], third)
    torch.testing.assert_close(head(features), third)


def test_the_builder_builds_the_head_that_a_head_holds() -> None:
    entry = find("knet_s3_upernet_r50_ade20k")
    held = entry.architecture.decode_head.arguments["kernel_generate_head"]
    assert isinstance(held, ModuleSpec)
    assert held.type == "UPerHead"
    model = build(entry, model_class=Segmentor, labels=labels_of(entry, 7), device="meta")
    assert type(model.decode_head.kernel_generate_head).__name__ == "UPerHead"
    assert model.decode_head.kernel_generate_head.conv_seg.weight.shape[0] == 7
    assert isinstance(entry.architecture.decode_head.arguments["kernel_generate_head"], ModuleSpec)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("{type: FCNHead, in_index: 3,", "{in_index: 3,", IndexSchemaError, "kernel_generate_head: field 'type'"),
        ("{type: FCNHead, in_index: 3,", "{type: FCNHeap, in_index: 3,", UnknownNameError, "'FCNHeap'"),
        ("{type: FCNHead, in_index: 3,", "{type: FCNHead, index: 3,", IndexSchemaError, "FCNHead cannot take"),
    ],
)
def test_a_fault_in_a_held_head_is_named(
    tmp_path: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    path = Path(__file__).parents[2] / "model_index" / "knet.yaml"
    text = path.read_text()
    assert text.count(old) == 1
    (tmp_path / "knet.yaml").write_text(text.replace(old, new))
    with pytest.raises(error, match=message):
        build(next(read_entries(tmp_path / "knet.yaml")), model_class=Segmentor, device="meta")


def test_every_published_entry_has_three_updates() -> None:
    entries = [entry for entry in default_index().entries.values() if entry.method == "KNet"]
    assert len(entries) == 7
    assert {entry.architecture.decode_head.arguments["num_stages"] for entry in entries} == {3}
