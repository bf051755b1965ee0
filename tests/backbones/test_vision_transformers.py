"""The vision transformers beyond the reference's figures: sizes, positions, declared features, parts by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.beit import MAE, BEiT, BEiTAttention
from segzoo.backbones.mix_transformer import MixVisionTransformer
from segzoo.backbones.swin import PatchMerging, SwinTransformer
from segzoo.backbones.twins import PCPVT, SVT, ConditionalPositionEncoding
from segzoo.backbones.vit import VisionTransformer, resize_positions
from segzoo.errors import InputSizeError
from segzoo.layers.attention import SelfAttention, attend
from segzoo.layers.windows import LocallyGroupedAttention


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def vit(**options: object) -> VisionTransformer:
    settings = {"image_size": (32, 48), "embed_dims": 8, "num_layers": 3, "num_heads": 2, **options}
    return VisionTransformer(**settings).eval()  # type: ignore[arg-type]


def mit(**options: object) -> MixVisionTransformer:
    return MixVisionTransformer(**{"embed_dims": 4, "num_layers": (1, 1, 1, 1), **options}).eval()  # type: ignore[arg-type]


def swin(**options: object) -> SwinTransformer:
    settings = {"embed_dims": 4, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "window_size": 4, **options}
    return SwinTransformer(**settings).eval()  # type: ignore[arg-type]


def twins(cls: type[PCPVT], **options: object) -> PCPVT:
    settings = {"embed_dims": (4, 8, 8, 8), "depths": (2, 3, 1, 1), "num_heads": (1, 2, 2, 2), **options}
    return cls(**settings).eval()  # type: ignore[arg-type]


def beit(cls: type[BEiT] = BEiT, **options: object) -> BEiT:
    settings = {"image_size": (32, 48), "embed_dims": 8, "num_layers": 3, "num_heads": 2, **options}
    return cls(**settings).eval()  # type: ignore[arg-type]


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "vit": vit,
    "mit": mit,
    "swin": swin,
    "pcpvt": lambda **options: twins(PCPVT, **options),
    "svt": lambda **options: twins(SVT, **options),
    "beit": beit,
    "mae": lambda **options: beit(MAE, **options),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_features_are_as_declared_and_a_choice_of_them_is_the_same(name: str) -> None:
    whole = BUILDERS[name](out_indices=(0, 1, 2))
    some = BUILDERS[name](out_indices=(0, 1))
    some.load_state_dict(whole.state_dict())
    x = torch.randn(2, 3, 32, 48)
    with torch.inference_mode():
        features, fewer = whole(x), some(x)
    assert len(features) == len(whole.channels) == len(whole.strides) == 3
    for feature, channels, stride in zip(features, whole.channels, whole.strides, strict=True):
        assert feature.shape == (2, channels, 32 // stride, 48 // stride)
        assert feature.is_contiguous()
    assert some.channels == whole.channels[:2]
    assert some.strides == whole.strides[:2]
    assert all(torch.equal(a, b) for a, b in zip(fewer, features, strict=False))


@pytest.mark.parametrize("name", BUILDERS)
def test_on_the_meta_device_nothing_is_made(name: str) -> None:
    with torch.device("meta"):
        model = BUILDERS[name](drop_path_rate=0.1)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in BUILDERS[name]().state_dict().items()
    }


@pytest.mark.parametrize("name", BUILDERS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = BUILDERS[name](out_indices=(0, 1, 2) if name in ("vit", "beit", "mae") else (0, 1, 2, 3)).train()
    sum(feature.square().mean() for feature in model(torch.randn(2, 3, 32, 48))).backward()
    left = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not left


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_and_near(name: str, dtype: torch.dtype) -> None:
    model = BUILDERS[name]()
    x = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        expected = model(x)[-1]
        with torch.autocast("cpu", dtype=dtype):
            found = model(x)[-1]
    assert (found.float() - expected).abs().max() <= 0.05 * expected.abs().max()


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_any_size_is_completed_with_zeros_to_whole_patches(name: str) -> None:
    model = BUILDERS[name]()
    x = torch.randn(1, 3, 37, 50)
    step = model.patch_embed.stride
    padded = F.pad(x, (0, -50 % step, 0, -37 % step))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(model(x), model(padded), strict=True))


@pytest.mark.parametrize("name", ["mit", "pcpvt", "svt"])
def test_what_is_smaller_than_a_reduction_is_refused(name: str) -> None:
    model = BUILDERS[name]()
    assert model(torch.zeros(1, 3, 29, 29))[0].shape[2:] == (8, 8)
    with pytest.raises(InputSizeError, match=r"28 x 64.*at least 29 x 29"):
        model(torch.zeros(1, 3, 28, 64))


@pytest.mark.parametrize("name", ["beit", "mae"])
@pytest.mark.parametrize("size", [(32, 32), (48, 32), (33, 48), (64, 96)])
def test_fixed_positions_take_their_own_size_only(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(InputSizeError, match=r"of 32 x 48$"):
        BUILDERS[name]()(torch.zeros(1, 3, *size))


# --- ViT


def test_positions_are_interpolated_between_the_rows_and_columns() -> None:
    table = torch.tensor([9.0, 0.0, 1.0, 2.0, 3.0]).view(1, 5, 1)
    assert resize_positions(table, (2, 2), (1, 1), "bilinear").flatten().tolist() == [9.0, 1.5]
    # Corners are not aligned: the four of a row lie at -1/4, 1/4, 3/4 and 5/4 of the way, cut at the ends.
    wide = resize_positions(table, (2, 2), (2, 4), "bilinear").flatten().tolist()
    assert wide == pytest.approx([9.0, 0.0, 0.25, 0.75, 1.0, 2.0, 2.25, 2.75, 3.0])


def test_bicubic_positions_use_cubic_weights() -> None:
    values = torch.randn(4)
    table = torch.cat([torch.zeros(1), values]).view(1, 5, 1)
    found = resize_positions(table, (1, 4), (1, 8), "bicubic").flatten()[1:]

    def weight(distance: float) -> float:
        d, a = abs(distance), -0.75
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    for i in range(8):
        place = (i + 0.5) / 2 - 0.5
        nearby = range(int(place // 1) - 1, int(place // 1) + 3)
        expected = sum(weight(place - j) * values[min(max(j, 0), 3)].item() for j in nearby)
        assert found[i].item() == pytest.approx(expected, abs=1e-5)


def test_the_table_is_left_alone_at_its_own_number_of_patches() -> None:
    model = vit()
    assert model.positions((2, 3)) is model.pos_embed
    assert model.positions((3, 2)) is model.pos_embed  # as published
    assert model.positions((4, 4)).shape == (1, 17, 8)


def test_without_the_class_token_the_blocks_do_not_see_it() -> None:
    model = vit(with_cls_token=False)
    x = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        before = model(x)[0]
        model.cls_token += 1
        assert torch.equal(model(x)[0], before)
        blind = vit()
        blind.load_state_dict(model.state_dict())
        assert not torch.allclose(blind(x)[0], before)


def test_the_class_token_is_appended_to_every_position() -> None:
    model, plain = vit(output_cls_token=True), vit()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 32, 48)
    with torch.inference_mode():
        (joined,), (places,) = model(x), plain(x)
    assert model.channels == (16,)
    assert torch.equal(joined[:, :8], places)
    token = joined[:, 8:]
    assert torch.equal(token, token[:, :, :1, :1].expand_as(token))
    assert not torch.allclose(token[:, :, 0, 0], places[:, :, 0, 0])


def test_the_final_norm_is_that_of_the_last_block_only() -> None:
    normed, plain = vit(final_norm=True, out_indices=(1, 2)), vit(out_indices=(1, 2))
    plain.load_state_dict({k: v for k, v in normed.state_dict().items() if not k.startswith("ln1")})
    x = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        inner, last = plain(x)
        expected = F.layer_norm(last.permute(0, 2, 3, 1), (8,), eps=1e-6).permute(0, 3, 1, 2)
        assert torch.equal(normed(x)[0], inner)
        assert torch.allclose(normed(x)[1], expected, atol=1e-6)


def test_the_rate_of_dropping_a_branch_grows_with_depth() -> None:
    model = vit(drop_path_rate=0.2)
    assert [block.drop_path1.p for block in model.layers] == pytest.approx([0.0, 0.1, 0.2])


# --- Swin


def test_merging_joins_two_by_two_as_an_unfold_does() -> None:
    layer = PatchMerging(3, 5)
    x = torch.randn(2, 5, 8, 3)
    columns = F.unfold(F.pad(x.permute(0, 3, 1, 2), (0, 0, 0, 1)), 2, stride=2).transpose(1, 2)
    expected = layer.reduction(layer.norm(columns)).view(2, 3, 4, 5)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_every_second_block_is_shifted() -> None:
    shifts = [[block.attn.shift for block in stage.blocks] for stage in swin(depths=(2, 3, 1, 2)).stages]
    assert shifts == [[0, 2], [0, 2, 0], [0], [0, 2]]


# --- Twins


def test_svt_alternates_windows_and_the_whole_map() -> None:
    kinds = [[type(block.attn) for block in stage] for stage in twins(SVT).layers]
    local, whole = LocallyGroupedAttention, SelfAttention
    assert kinds == [[local, whole], [local, whole, local], [local], [local]]
    assert {type(block.attn) for stage in twins(PCPVT).layers for block in stage} == {SelfAttention}


def test_branches_are_dropped_as_often_as_published() -> None:
    # Where a branch passes two drops of rate p in a row, it survives with (1 - p) squared.
    whole = twins(PCPVT, drop_path_rate=0.5).layers[3][0]
    assert (whole.drop_path1.p, whole.drop_path2.p) == pytest.approx((0.75, 0.75))
    local = twins(SVT, drop_path_rate=0.5).layers[3][0]
    assert (local.drop_path1.p, local.drop_path2.p) == pytest.approx((0.5, 0.75))


def test_the_position_encoding_is_a_convolution_that_is_added() -> None:
    layer = ConditionalPositionEncoding(1)
    nn.init.ones_(layer.proj.weight)
    nn.init.zeros_(layer.proj.bias)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 2, 1)
    assert layer(x).flatten().tolist() == [11.0, 12.0, 13.0, 14.0]


# --- BEiT and MAE


def test_beit_gives_keys_no_bias() -> None:
    layer = BEiTAttention(4, 2, (1, 2))
    nn.init.normal_(layer.q_bias)
    nn.init.normal_(layer.v_bias)
    x = torch.randn(2, 3, 4)
    weight = layer.qkv.weight
    q, k, v = x @ weight[:4].T + layer.q_bias, x @ weight[4:8].T, x @ weight[8:].T + layer.v_bias
    expected = layer.proj(attend(q, k, v, 2, layer.position_bias()))
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_mae_adds_a_table_of_positions_and_beit_has_none() -> None:
    model = beit(MAE)
    x = torch.randn(1, 3, 32, 48)

    def first(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    seen: list[Tensor] = []
    model.layers[0].register_forward_pre_hook(first)
    with torch.inference_mode():
        model(x)
    assert torch.equal(seen[0], model.tokens(model.patch_embed(x)) + model.pos_embed)
    assert "pos_embed" not in beit().state_dict()
