"""The script that trains the embedded model: its parts, and a very short run from start to file."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import segzoo
from benchmarks.drawn_streets_accuracy import ENTRY
from benchmarks.train_drawn_streets import CROP, Streets, main, network, objective, overlap_loss, rate
from segzoo.datasets.drawn_streets import CLASSES, write


def test_overlap_loss_by_hand() -> None:
    labels = torch.tensor([[[0, 0, 1, 1]]])
    sure = 50.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert float(overlap_loss(sure, labels)) == pytest.approx(0.0, abs=1e-6)
    # Undecided between three classes: each class of two pixels has 2/3 in common and 2 + 4/3 - 2/3 in all.
    assert float(overlap_loss(torch.zeros(1, 3, 1, 4), labels)) == pytest.approx(1 - (2 / 3) / (2 + 4 / 3 - 2 / 3))


def test_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == max(rates[90:130])
    assert rates[-1] < 0.01
    falling = rates[100:]
    assert all(a > b for a, b in itertools.pairwise(falling))


def test_crops_are_normalised_and_labelled(tmp_path: Path) -> None:
    list(write(tmp_path, train=2, val=0, size=(64, 128)))
    streets = Streets(tmp_path, range(2), seed=0)
    mean, std = torch.full((1, 3, 1, 1), 120.0), torch.full((1, 3, 1, 1), 60.0)
    x, labels = streets.batch(3, mean, std)
    assert x.shape == (3, 3, *CROP)
    assert x.dtype == torch.float32
    assert float(x.min()) >= -2.0
    assert float(x.max()) <= 135 / 60
    assert labels.shape == (3, *CROP)
    assert int(labels.max()) < len(CLASSES)


def test_a_step_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = network().train()
    x, labels = torch.randn(2, 3, 64, 128), torch.randint(0, 3, (2, 1, 1)).expand(2, 64, 128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        features = model.features(x)
        loss = objective([model.decode(features), *model.auxiliary(features)], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(math.isfinite(value) for value in losses)


def test_short_training_writes_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, state = tmp_path / "weights.safetensors", tmp_path / "state.pt"
    arguments = ["--out", str(out), "--data", str(tmp_path / "streets"), "--resume", str(state)]
    arguments += ["--pictures", "1", "--checked", "1", "--iterations", "1", "--batch", "2"]
    main(arguments)
    assert "mIoU" in capsys.readouterr().out
    tensors = load_file(out)
    assert tensors["backbone.learning_to_downsample.conv.conv.weight"].dtype == torch.float16
    assert not any(name.startswith("auxiliary_head.") for name in tensors)
    assert out.stat().st_size <= 3_000_000
    assert segzoo.load(ENTRY, weights=out).num_classes == len(CLASSES)
    main(arguments)
    assert "100%|" in capsys.readouterr().err, "a finished training has nothing left to do"
    assert torch.load(state, weights_only=True)["step"] == 1


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--out", "x", "--batch", "1"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert "two crops" in capsys.readouterr().err
