"""Which networks are laid out channels-last."""

from __future__ import annotations

import pytest
import torch

from segzoo.build import build
from segzoo.index import find
from segzoo.segmentor import Segmentor
from segzoo.training.layout import suits_channels_last


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast_scnn_drawn_streets", True),
        ("segformer_mit_b0_512x512_160k_ade20k", True),
        ("pspnet_r50_d8_512x1024_80k_cityscapes", False),
        ("pspnet_r101_d8_512x1024_80k_cityscapes", False),
        ("deeplabv3plus_r101_d8_512x1024_80k_cityscapes", False),
    ],
)
def test_wide_networks_stay_as_they_are_on_a_cpu(name: str, expected: bool) -> None:
    model = build(find(name), model_class=Segmentor, auxiliary=True, device="meta")
    assert suits_channels_last(model, torch.device("cpu"), "float32") is expected
    assert not suits_channels_last(model, torch.device("cuda"), "float32")
    assert suits_channels_last(model, torch.device("cuda"), "float16")
