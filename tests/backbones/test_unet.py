from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from segzoo.backbones.unet import UNet, Upsample
from segzoo.errors import InputSizeError


@pytest.mark.parametrize("train", [False, True])
def test_upsampling_equals_resizing_before_the_convolution(train: bool) -> None:
    torch.manual_seed(0)
    layer = Upsample(6, 4).train(train)
    block = layer.interp_upsample[1]
    torch.nn.init.uniform_(block.bn.weight)
    x = torch.randn(2, 6, 5, 7)
    enlarged = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x, torch.Size((10, 14))), block(enlarged), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (65, 47)])
def test_every_level_has_its_declared_channels_and_size(size: tuple[int, int]) -> None:
    network = UNet(base_channels=4, num_stages=5).eval()
    assert network.channels == (64, 32, 16, 8, 4)
    assert network.strides == (16, 8, 4, 2, 1)
    with torch.inference_mode():
        features = network(torch.randn(1, 3, *size))
    expected = [
        (1, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(network.channels, network.strides, strict=True)
    ]
    assert [tuple(feature.shape) for feature in features] == expected


def test_the_expanding_path_sees_the_contracting_one() -> None:
    torch.manual_seed(0)
    network = UNet(base_channels=2, num_stages=2).eval()
    x = torch.randn(1, 3, 8, 8)
    top = network.encoder[0](x)
    bottom = network.encoder[1](top)
    up = network.decoder[0]
    enlarged = F.interpolate(bottom, scale_factor=2, mode="bilinear")
    narrowed = up.upsample.interp_upsample[1](enlarged)
    joined = torch.cat([top, narrowed], dim=1)
    found = network(x)
    torch.testing.assert_close(found[0], bottom)
    torch.testing.assert_close(found[1], up.conv_block(joined))


def test_inputs_below_the_deepest_stride_are_refused() -> None:
    network = UNet(base_channels=2, num_stages=5).eval()
    network(torch.randn(1, 3, 16, 16))
    with pytest.raises(InputSizeError, match="64 x 15 pixels; it needs at least 16 x 16"):
        network(torch.randn(1, 3, 64, 15))
