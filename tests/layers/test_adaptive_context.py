from __future__ import annotations

import torch
from torch import nn

from segzoo.layers.adaptive_context import AdaptiveContext


@torch.no_grad()
def test_equals_the_published_steps_written_out() -> None:
    torch.manual_seed(0)
    module = AdaptiveContext(2, in_channels=3, channels=4).double().eval()
    x = torch.randn(2, 3, 4, 6).double()
    bins = torch.stack(
        [x[:, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean((2, 3)) for i in range(2) for j in range(2)], dim=2
    )
    regions = module.pooled_redu_conv(bins[..., None])[..., 0]
    reduced = module.input_redu_conv(x)
    overall = module.global_info(reduced.mean((2, 3), keepdim=True))
    affinity = torch.sigmoid(module.gla(reduced + overall))
    context = torch.zeros_like(reduced)
    for region in range(4):
        context += affinity[:, region, None] * regions[:, :, region, None, None]
    expected = module.fusion_conv(torch.relu(module.residual_conv(context) + reduced))
    torch.testing.assert_close(module(x), expected)


def test_affinities_are_not_normalised() -> None:
    """Each region weighs by a sigmoid of its own: with scores of zero the context is half the sum of the regions."""
    module = AdaptiveContext(2, in_channels=1, channels=1).eval()
    for name, _ in list(module.named_children()):
        if name != "gla":
            setattr(module, name, nn.Identity())
    nn.init.zeros_(module.gla.weight)
    nn.init.zeros_(module.gla.bias)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(module(x), x + 5.0)
