from __future__ import annotations

import torch
from torch.nn import functional as F

from segzoo.layers.attention_refinement import AttentionRefinement


def test_the_gate_is_that_of_the_means() -> None:
    torch.manual_seed(0)
    layer = AttentionRefinement(3, 4).eval()
    norm, gate_norm = layer.conv_layer.bn, layer.atten_conv_layer[1].bn
    for bn in (norm, gate_norm):
        torch.nn.init.uniform_(bn.weight)
        torch.nn.init.normal_(bn.bias)
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 5, 7)
    convolved = F.relu(norm(F.conv2d(x, layer.conv_layer.conv.weight, padding=1)))
    means = convolved.mean(dim=(2, 3))
    scores = means @ layer.atten_conv_layer[1].conv.weight[:, :, 0, 0].T
    scores = (scores - gate_norm.running_mean) / (gate_norm.running_var + gate_norm.eps).sqrt()
    gates = (scores * gate_norm.weight + gate_norm.bias).sigmoid()
    torch.testing.assert_close(layer(x), convolved * gates[:, :, None, None])


def test_by_hand() -> None:
    layer = AttentionRefinement(1, 1).eval()
    with torch.no_grad():
        layer.conv_layer.conv.weight.zero_()[0, 0, 1, 1] = (1 + 1e-5) ** 0.5
        layer.atten_conv_layer[1].conv.weight.zero_()
    x = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]]])
    torch.testing.assert_close(layer(x), torch.tensor([[[[0.5, 0.0], [1.5, 0.0]]]]))
