from __future__ import annotations

import pytest
import torch

from segzoo.heads.stdc import STDCHead


@pytest.fixture
def head() -> STDCHead:
    return STDCHead((8,), num_classes=2, channels=4, num_convs=1, concat_input=False)


def test_logits_are_those_of_an_fcn_head(head: STDCHead) -> None:
    x = torch.randn(2, 8, 5, 6)
    head.eval()
    torch.testing.assert_close(head([x]), head.conv_seg(head.convs[0](x)))


def test_the_constants_are_buffers_of_the_state_dict(head: STDCHead) -> None:
    assert {"laplacian_kernel", "fusion_kernel"} <= set(head.state_dict())
    assert not {"laplacian_kernel", "fusion_kernel"} & {name for name, _ in head.named_parameters()}
    assert head.laplacian_kernel.flatten().tolist() == [-1, -1, -1, -1, 8, -1, -1, -1, -1]


def test_the_higher_side_of_an_edge_is_marked_at_each_scale(head: STDCHead) -> None:
    # A step from 0 to 1 between columns 7 and 8 of 16, far from the top and bottom.
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, :, 8:] = 1
    row = head.boundaries(labels)[0, 8].tolist()
    # Stride 1 marks column 8; stride 2 samples it and marks 8 and 9; stride 4 alone (weight 0.1) never counts.
    # Column 15 borders on the zeros outside the picture.
    assert row == [0] * 8 + [1, 1] + [0] * 5 + [1]


def test_weights_of_the_scales_decide(head: STDCHead) -> None:
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, :, 8:] = 1
    head.fusion_kernel.copy_(torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1))
    assert head.boundaries(labels)[0, 8].tolist() == [0] * 8 + [1] * 4 + [0] * 4


def test_a_uniform_picture_has_edges_at_its_border_only(head: STDCHead) -> None:
    found = head.boundaries(torch.full((2, 9, 9), 3))
    assert found.dtype == torch.int64
    assert found.shape == (2, 9, 9)
    assert found[:, 2:7, 2:7].sum() == 0
    assert found[:, 0].all()
    assert head.boundaries(torch.zeros(1, 9, 9, dtype=torch.long)).sum() == 0


def test_autocast_does_not_move_edges(head: STDCHead) -> None:
    labels = torch.randint(0, 256, (1, 32, 32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head.boundaries(labels)
    assert torch.equal(found, head.boundaries(labels))
