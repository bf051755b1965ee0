"""A run from its start to its files: interrupted, resumed, gone wrong, fine-tuned."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import segzoo
from segzoo import records
from segzoo.errors import OptionError, RecipeError, TrainingError
from segzoo.recipe import Recipe
from segzoo.training import train
from segzoo.training.engine import Trainer
from segzoo.training.interruption import Interruption
from segzoo.training.run import Outcome
from segzoo.training.settings import Manner
from segzoo.weights import read
from tests.training.streets import NAME, recipe, write_folder

MANNER = Manner(workers=0, log_every=1, save_every=2, evaluate_every=3, progress=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data"))


def go(data: Path, out: Path, made: Recipe, **options: Any) -> Outcome:
    options = {"manner": MANNER, "device": "cpu", **options}
    return train(NAME, data, out, dataset="folder", recipe=made, **options)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert go(data, out, recipe(ema=0.5)).stopped_by is None
    return out


def losses(out: Path) -> list[Any]:
    return [
        (record["kind"], record["iteration"], record.get("losses") or record["metrics"])
        for record in records.read([out / "log.jsonl"])
    ]


def interrupt_after(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    advance = Trainer.advance

    def advance_and_signal(self: Trainer, batches: Any) -> None:
        advance(self, batches)
        if self.step == step:
            for child in multiprocessing.active_children():  # a terminal's Ctrl-C reaches them too
                os.kill(child.pid or 0, number)
            signal.raise_signal(number)

    monkeypatch.setattr(Trainer, "advance", advance_and_signal)


def test_a_run_leaves_its_files(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {"recipe.yaml", "log.jsonl", "last.safetensors", "best.safetensors", "state.pt"}
    log = records.read([whole / "log.jsonl"])
    assert [record["iteration"] for record in log if record["kind"] == "training"] == [1, 2, 3, 4, 5, 6]
    assert [record["iteration"] for record in log if record["kind"] == "validation"] == [3, 6]
    assert log[0]["environment"]["processes"] == 1
    assert log[0]["loss"] == pytest.approx(
        sum(value for name, value in log[0]["losses"].items() if "loss" in name), rel=1e-6
    )
    # The rate of the first step is the recipe's, that after the last is none.
    assert 0 == log[-2]["lr"] < log[0]["lr"] < 0.01
    model = segzoo.load(NAME, weights=whole / "best.safetensors")
    assert model.classes == ("ground", "square")
    assert model.reinitialised == ()
    assert segzoo.load(NAME, weights=whole / "last.safetensors", num_classes=2, auxiliary=True).reinitialised == ()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_resumed_run_is_the_uninterrupted_one(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out = tmp_path / "run"
    with_worker = dataclasses.replace(MANNER, workers=1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3, number)
        stopped = go(data, out, recipe(ema=0.5), manner=with_worker)
    assert (stopped.iteration, stopped.stopped_by) == (3, number)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    caller = torch.get_rng_state()
    resumed = go(data, out, recipe(ema=0.5), resume=True)
    assert torch.equal(torch.get_rng_state(), caller)
    assert (resumed.iteration, resumed.stopped_by) == (6, None)
    # The evaluation of step 3 is left out when the run is asked to stop then.
    assert losses(out) == [each for each in losses(whole) if each[:2] != ("validation", 3)]
    assert (out / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


def test_a_killed_run_goes_on_from_its_last_save(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    advance = Trainer.advance

    def advance_or_die(self: Trainer, batches: Any) -> None:
        if self.step == 5:
            raise KeyboardInterrupt  # as a power cut would: nothing is saved
        advance(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", advance_or_die)
        with pytest.raises(KeyboardInterrupt):
            go(data, out, recipe(ema=0.5))
    assert losses(out)[-1][1] == 5
    assert go(data, out, recipe(ema=0.5), resume=True).iteration == 6
    assert losses(out) == losses(whole)
    assert (out / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_a_finished_run_stays_finished(data: Path, whole: Path) -> None:
    before = (whole / "log.jsonl").read_bytes()
    outcome = go(data, whole, recipe(ema=0.5), resume=True)
    assert (outcome.iteration, outcome.best) == (6, whole / "best.safetensors")
    assert (whole / "log.jsonl").read_bytes() == before


def test_a_folder_with_a_run_is_not_written_over(data: Path, whole: Path) -> None:
    with pytest.raises(TrainingError, match="already holds a run; resume it"):
        go(data, whole, recipe(ema=0.5))
    with pytest.raises(TrainingError, match=r"another run \(recipe.optimizer.lr was 0.01, now 0.02\)"):
        go(data, whole, recipe(ema=0.5, lr=0.02), resume=True)
    with pytest.raises(TrainingError, match=r"seed was 0, now 1"):
        go(data, whole, recipe(ema=0.5), seed=1, resume=True)


def test_a_run_that_failed_before_it_began_leaves_nothing_in_the_way(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no part 'backbone\.layer9'"):
        go(data, tmp_path / "run", recipe(iterations=1), freeze=["backbone.layer9"])
    assert go(data, tmp_path / "run", recipe(iterations=1)).iteration == 1


def test_damaged_state_is_named(data: Path, tmp_path: Path) -> None:
    go(data, tmp_path, recipe(iterations=1))
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        go(data, tmp_path, recipe(iterations=1), resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Trainer.advance

    def spoil(self: Trainer, batches: Any) -> None:
        if self.step == 4:
            with torch.no_grad():
                self.model.decode_head.conv_seg.bias.fill_(float("nan"))
        advance(self, batches)

    monkeypatch.setattr(Trainer, "advance", spoil)
    with pytest.raises(TrainingError, match=r"decode.loss_ce is nan at step 5; the run has stopped, .*last\.safe"):
        go(data, tmp_path, recipe(), manner=dataclasses.replace(MANNER, log_every=100))
    assert read(tmp_path / "last.safetensors").meta["iteration"] == "4"
    assert all(torch.isfinite(value).all() for value in read(tmp_path / "last.safetensors").tensors.values())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4


def test_weights_that_are_not_finite_are_not_saved(data: Path, tmp_path: Path) -> None:
    """The step itself may be what spoils them; its loss does not show it."""
    with pytest.raises(TrainingError, match=r"not finite after step 1|is (nan|inf) at step"):
        go(data, tmp_path, recipe(lr=1e38), manner=Manner(workers=0, save_every=1, evaluate_every=0, progress=False))
    assert not (tmp_path / "last.safetensors").exists()


def test_half_files_hold_matrices_as_float16(data: Path, tmp_path: Path) -> None:
    go(data, tmp_path, recipe(iterations=1), half=True)
    tensors = read(tmp_path / "last.safetensors").tensors
    floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
    assert {value.dtype for value in floats.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in floats.values() if value.ndim <= 1} == {torch.float32}
    assert segzoo.load(NAME, weights=tmp_path / "last.safetensors").dtype == torch.float32


def test_frozen_parts_stay_as_they_are(data: Path, tmp_path: Path) -> None:
    frozen = "backbone.learning_to_downsample"
    go(data, tmp_path, recipe(iterations=2), weights="published", freeze=[frozen])
    before = read(Path(segzoo.__file__).parent / "assets" / f"{NAME}.safetensors").tensors
    after = read(tmp_path / "last.safetensors").tensors
    same = {name for name, value in before.items() if value.shape == after[name].shape}
    moved = {name for name in same if not torch.equal(before[name].float(), after[name].float())}
    assert not {name for name in moved if name.startswith(frozen)}  # weights, and statistics
    assert any(name.startswith("backbone.feature_fusion") for name in moved)
    assert any(name.endswith("running_mean") for name in moved)
    assert {name.rpartition(".")[0] for name in before if name not in same} == {"decode_head.conv_seg"}


def test_options_that_cannot_be(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="folder has 2 classes; leave num_classes out"):
        go(data, tmp_path, recipe(), num_classes=3)
    with pytest.raises(OptionError, match="leaves nothing to train"):
        go(data, tmp_path, recipe(), freeze=["backbone", "decode_head", "auxiliary_head"])
    with pytest.raises(OptionError, match="save_every=0"):
        Manner(save_every=0)
    with pytest.raises(OptionError, match="seed=-1"):
        go(data, tmp_path, recipe(), seed=-1)
    with pytest.raises(OptionError, match="device='gpu'"):
        go(data, tmp_path, recipe(), device="gpu")
    with pytest.raises(RecipeError, match="optimizer"):
        go(data, tmp_path, recipe(), overrides=["optimizer.rate=1"])
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(OptionError, match=r"pip install 'segzoo\[tensorboard\]'"):
        go(data, tmp_path, recipe(), manner=Manner(workers=0, evaluate_every=0, tensorboard=True))


def test_the_second_signal_acts_as_before() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert interruption.signal == signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from segzoo.cli import main

    run = tmp_path / "run"
    argv = ["train", NAME, "--data", str(data), "--dataset", "folder", "--out", str(run), "--device", "cpu"]
    argv += ["--set", "augmentation.crop_size=[64,64]", "--iterations", "3", "--batch", "2", "--workers", "0"]
    argv += ["--log-every", "1", "--evaluate-every", "3", "--precision", "bfloat16"]
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        assert main(argv) == 128 + signal.SIGTERM
    assert capsys.readouterr().out.splitlines()[-1] == "stopped at step 1; go on with --resume"
    assert main(argv) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert main([*argv, "--resume"]) == 0
    out = capsys.readouterr().out
    assert "2/3: loss" in out
    assert "3/3: mIoU" in out
    assert f"{run / 'last.safetensors'}: 3 steps; best mIoU" in out
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in log] == [1, 2, 3, 3]
    again = [*argv[:7], str(tmp_path / "again"), "--quiet", "--recipe", str(run / "recipe.yaml"), "--workers", "0"]
    assert main([*again, "--set", "iterations=1", "--device", "cpu"]) == 0
    assert (tmp_path / "again" / "last.safetensors").exists()
