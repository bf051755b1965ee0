from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segzoo.layers.context_block import ContextBlock
from segzoo.layers.non_local import DisentangledNonLocal, NonLocal


def randomised(module: nn.Module) -> nn.Module:
    """All parameters drawn anew, so that no branch is switched off; in evaluation mode, float64."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double().eval()


@pytest.mark.parametrize("block", [NonLocal(6), DisentangledNonLocal(6), ContextBlock(8, ratio=0.25)])
@pytest.mark.parametrize("training", [False, True])
def test_blocks_start_as_the_identity(block: nn.Module, training: bool) -> None:
    x = torch.randn(2, 8 if isinstance(block, ContextBlock) else 6, 3, 4)
    torch.testing.assert_close(block.train(training)(x), x)


def position_by_position(block: NonLocal, x: Tensor, centred: bool, scale: float) -> Tensor:
    theta, phi, g = (conv(x).flatten(2) for conv in (block.theta, block.phi, block.g))
    if centred:
        theta, phi = theta - theta.mean(2, keepdim=True), phi - phi.mean(2, keepdim=True)
    columns = []
    for i in range(theta.shape[2]):
        weights = torch.softmax(scale * (theta[:, :, i, None] * phi).sum(1), dim=1)
        columns.append((g * weights[:, None]).sum(2))
    return torch.stack(columns, dim=2).unflatten(2, x.shape[2:])


@torch.no_grad()
def test_non_local_equals_its_definition() -> None:
    block = randomised(NonLocal(6, reduction=2))
    x = torch.randn(2, 6, 3, 4).double()
    expected = x + block.conv_out(position_by_position(block, x, centred=False, scale=3**-0.5))
    torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_disentangled_non_local_equals_its_definition() -> None:
    block = randomised(DisentangledNonLocal(6, reduction=3, temperature=0.5))
    x = torch.randn(2, 6, 3, 4).double()
    pairwise = position_by_position(block, x, centred=True, scale=1 / (0.5 * 2**0.5))
    mask = torch.softmax(block.conv_mask(x).flatten(1), dim=1)
    unary = torch.einsum("ncl,nl->nc", block.g(x).flatten(2), mask)
    torch.testing.assert_close(block(x), x + block.conv_out(pairwise + unary[:, :, None, None]))


@torch.no_grad()
def test_context_block_adds_one_vector_to_every_position() -> None:
    block = randomised(ContextBlock(8, ratio=0.5))
    x = torch.randn(2, 8, 3, 4).double()
    added = block(x) - x
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added))
    first, norm, _, last = block.channel_add_conv
    weights = torch.softmax((block.conv_mask.weight[0] * x).sum(1).flatten(1) + block.conv_mask.bias, dim=1)
    pooled = (x.flatten(2) * weights[:, None]).sum(2)
    hidden = pooled @ first.weight[:, :, 0, 0].t() + first.bias
    hidden = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    hidden = torch.relu(hidden * norm.weight[:, 0, 0] + norm.bias[:, 0, 0])
    torch.testing.assert_close(added[:, :, 0, 0], hidden @ last.weight[:, :, 0, 0].t() + last.bias)
