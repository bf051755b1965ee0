from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from segzoo.errors import OptionError
from segzoo.index import find
from segzoo.recipe import Precision, Recipe
from segzoo.training.averaging import RunningAverage
from segzoo.training.data import Draws, Share, batches
from segzoo.training.distributed import Processes, ReducedBatchNorm2d, joined, synchronised
from segzoo.training.engine import Trainer
from segzoo.training.run import split_batch
from segzoo.training.settings import Manner, Settings
from segzoo.training.start import begin, train_mode
from tests.training import several
from tests.training.streets import NAME, InArrays, recipe

ALONE = Processes(0, 1, torch.device("cpu"))
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def norms() -> tuple[str, ...]:
    """Every batch normalisation of the network."""
    model = begin(find(NAME), Settings(NAME, "folder", recipe()), InArrays(1))
    return tuple(name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d))


def test_accumulated_passes_are_the_larger_batch(norms: tuple[str, ...]) -> None:
    """Where normalisation does not look at the batch, within 1e-6 in double precision."""
    whole, split = several.steps(ALONE, 1, norms), several.steps(ALONE, 4, norms)
    for one, other in zip(whole, split, strict=True):
        assert {name: pytest.approx(value, rel=1e-6) for name, value in one.items() if "loss" in name} == {
            name: value for name, value in other.items() if "loss" in name
        }
    assert whole[0]["decode.loss_ce"] != whole[-1]["decode.loss_ce"]


@pytest.mark.loopback
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Every loss within 1e-6, and normalisation within 1e-9, in double precision."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.several", str(tmp_path / f"{rank}.json")],
            cwd=ROOT,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    alone = several.steps(ALONE, 1)
    for process in started:
        _, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
        assert "Warning" not in complaint
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0]["losses"] == found[1]["losses"]
    for one, two in zip(alone, found[0]["losses"], strict=True):
        for name, value in one.items():
            if "loss" in name:
                assert two[name] == pytest.approx(value, rel=1e-6), name
    for each in found:
        assert max(each["norm"].values()) < 1e-9, each["norm"]
        assert each["any"] == [True, False]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_learns(precision: Precision) -> None:
    """Losses are near those of single precision, and the weights stay in it."""

    def losses(name: Precision) -> list[float]:
        made = Recipe(**{**vars(recipe(2)), "precision": name, "clip_norm": 5.0})
        settings = Settings(NAME, "folder", made)
        data = InArrays(4)
        torch.manual_seed(0)
        trainer = Trainer(begin(find(NAME), settings, data), settings, ALONE, Share(2))
        draws = Draws(data, made.augmentation, mean=(90, 90, 90), std=(50, 50, 50), classes=2)
        loader = batches(draws, Share(2), 0, 2)
        found = []
        for _ in range(2):
            trainer.advance(loader)
            found.append(trainer.window().losses["decode.loss_ce"])
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
        assert trainer.scaler.is_enabled() == (name == "float16")
        return found

    exact, rounded = losses("float32"), losses(precision)
    assert rounded[0] != exact[0]
    assert rounded[0] == pytest.approx(exact[0], rel=0.02)
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.2)


def test_running_average() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = RunningAverage(model, 0.75)  # type: ignore[arg-type]
    values = []
    for step, value in enumerate((8.0, 4.0, 0.0), start=1):
        with torch.no_grad():
            model[0].weight.fill_(value)
            model[1].running_mean.fill_(-value)
            model[1].num_batches_tracked += 10
        average.update(model, step)
        values.append(float(average.model[0].weight))  # type: ignore[index]
    assert values == [8.0, 7.0, 5.25]
    assert float(average.model[1].running_mean) == -5.25  # type: ignore[index]
    assert int(average.model[1].num_batches_tracked) == 30  # type: ignore[index]
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_frozen_parts_are_in_evaluation_mode() -> None:
    model = begin(find(NAME), Settings(NAME, "folder", recipe(), freeze=("backbone",)), InArrays(1))
    train_mode(model, ("backbone",))
    assert not any(module.training for module in model.backbone.modules())
    assert model.decode_head.training
    assert {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {
        "decode_head",
        "auxiliary_head",
    }


def test_normalisation_over_processes_keeps_the_tensors() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2, momentum=0.3), nn.BatchNorm2d(2)))
    model[1][0].requires_grad_(False)
    before = model.state_dict(keep_vars=True)
    changed = synchronised(model, Processes(0, 2, torch.device("cpu")))
    after = changed.state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert not any(parameter.requires_grad for parameter in changed[1][0].parameters())  # type: ignore[index]
    assert [type(module) for module in changed[1]] == [ReducedBatchNorm2d] * 2  # type: ignore[index,union-attr]
    assert changed[1][0].momentum == 0.3  # type: ignore[index]
    x = torch.randn(2, 1, 3, 3)
    assert torch.equal(changed.eval()(x), nn.Sequential(model[0], nn.BatchNorm2d(2), nn.BatchNorm2d(2)).eval()(x))


@pytest.mark.parametrize(
    ("batch", "accumulate", "per_device", "world", "expected"),
    [
        (16, 1, None, 1, (16, 1)),
        (16, 1, 2, 1, (2, 8)),
        (16, 1, 3, 1, (2, 8)),  # at most 3, and 16 shared evenly
        (16, 1, 2, 4, (2, 2)),
        (16, 2, None, 4, (2, 2)),
        (2, 1, 8, 2, (1, 1)),
    ],
)
def test_a_batch_is_split(
    batch: int, accumulate: int, per_device: int | None, world: int, expected: tuple[int, int]
) -> None:
    made = Recipe(iterations=1, batch_size=batch, accumulate=accumulate)
    share = split_batch(made, Manner(per_device=per_device), Processes(0, world, torch.device("cpu")))
    assert (share.size, share.passes) == expected
    assert share.total == batch


def test_a_batch_that_cannot_be_split() -> None:
    with pytest.raises(OptionError, match="a batch of 6 cannot be split over 4 processes"):
        split_batch(Recipe(iterations=1, batch_size=6), Manner(), Processes(0, 4, torch.device("cpu")))


def test_one_gpu_is_not_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined("cpu") as processes:
        assert (processes.rank, processes.world, processes.first) == (0, 1, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="torch sees no GPU"), joined("cuda"):
        pass
