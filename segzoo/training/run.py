"""A run from its settings to its weight files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segzoo.allocator import kept_memory
from segzoo.datasets.base import SegmentationData, open_dataset
from segzoo.errors import OptionError, RecipeError, TrainingError
from segzoo.index import Entry, find
from segzoo.recipe import Recipe
from segzoo.training.data import Batches, Draws, InMemory, Share, batches, default_workers
from segzoo.training.distributed import Processes, joined
from segzoo.training.engine import Trainer
from segzoo.training.folder import RunFolder
from segzoo.training.interruption import Interruption
from segzoo.training.layout import suits_channels_last
from segzoo.training.report import Report
from segzoo.training.settings import Manner, Settings
from segzoo.training.start import begin
from segzoo.training.validation import validate

__all__ = ["Outcome", "split_batch", "train"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    ``last``, ``best``: its weight files (``best`` is None as long as nothing was evaluated); ``iteration``: steps done;
    ``mean_iou``: of the best, in percent; ``stopped_by``: the signal that stopped it, None if it reached its end.
    """

    last: Path
    best: Path | None
    iteration: int
    mean_iou: float | None
    stopped_by: int | None


def train(
    name: str,
    data: str | Path,
    out: str | Path,
    *,
    dataset: str | None = None,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    weights: str | Path | None = None,
    backbone_file: str | Path | None = None,
    num_classes: int | None = None,
    freeze: Sequence[str] = (),
    seed: int = 0,
    half: bool = False,
    resume: bool = False,
    device: torch.device | str | None = None,
    manner: Manner | None = None,
) -> Outcome:
    """Train a model by its recipe, on one process or as one of those that torchrun started.

    Equal arguments, versions and device give equal losses, resumed or not. SIGTERM and SIGINT save and return.

    Args:
        name: any of the model's names.
        data: the data set's folder.
        out: the run's folder; ``segzoo.load(name, weights=...)`` takes the weight files in it.
        dataset: key of the data set, or ``'folder'`` for pictures of one's own (default: the model's data set).
        recipe: instead of the one in the index.
        overrides: single settings, such as ``'optimizer.lr=0.001'`` or ``'iterations=2000'``.
        weights: where to start: a weight file or its address, or ``'published'`` for the model's own; by default the
            recipe's backbone weights, or none. What depends on another number of classes is initialised afresh.
        backbone_file: takes the recipe's backbone weights from this file or address.
        num_classes: of the network; always the data set's.
        freeze: parts of the network that stay as they are (``'backbone'``, ``'backbone.layer1'``).
        seed: decides first weights, order and augmentation of the pictures, and dropout.
        half: writes convolutions and matrices as float16: files of half the size.
        resume: goes on where the run in ``out`` stopped, if there is one.
        device: such as ``'cpu'`` or ``'cuda:1'`` (default: a GPU if there is one).
        manner: how to go about it: workers, intervals, passes.

    Raises:
        RecipeError: the index has no recipe of the model, or a setting cannot be used.
        UnknownNameError, OptionError, DatasetError: the name, an argument or the data cannot be used.
        TrainingError: the folder holds another run; or a loss is not finite: the last saved files are left in place.
    """
    entry = find(name)
    settings = Settings(
        entry=entry.name,
        dataset=dataset or entry.dataset,
        recipe=_recipe(entry, recipe).override(overrides),
        weights=None if weights is None else str(weights),
        backbone_file=None if backbone_file is None else str(backbone_file),
        num_classes=num_classes,
        freeze=tuple(freeze),
        seed=seed,
        half=half,
    )
    with (
        joined(device) as processes,
        _own_generators(processes.device),
        kept_memory(),
        Interruption() as interruption,
    ):
        run = _Run(entry, settings, manner or Manner(), Path(data), RunFolder(Path(out)), processes)
        return run.go(interruption, resume=resume)


def _recipe(entry: Entry, given: Recipe | None) -> Recipe:
    recipe = given or entry.recipe
    if recipe is None:
        raise RecipeError(f"the index has no recipe for {entry.name}; give one (--recipe FILE)")
    return recipe


@contextlib.contextmanager
def _own_generators(device: torch.device) -> Iterator[None]:
    """The caller's random numbers go on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


class _Run:
    def __init__(
        self,
        entry: Entry,
        settings: Settings,
        manner: Manner,
        root: Path,
        folder: RunFolder,
        processes: Processes,
    ) -> None:
        recipe = settings.recipe
        self.entry, self.settings, self.manner, self.folder, self.processes = entry, settings, manner, folder, processes
        self.iterations = recipe.iterations
        self.interval = manner.evaluate_every
        if self.interval is None:
            self.interval = max(1, recipe.iterations // 10)
        self.share = split_batch(recipe, manner, processes)
        self.pictures = open_dataset(settings.dataset, root, "train")
        self.val = open_dataset(settings.dataset, root, "val") if self.interval else None
        self.best: float | None = None

    def go(self, interruption: Interruption, *, resume: bool) -> Outcome:
        """From the first step, or the saved one, to the last, or to the signal."""
        if self.processes.first:
            self.folder.open(self.settings, resume=resume)
        self.processes.wait()
        state = self.folder.read_state() if resume else None
        torch.manual_seed(self.settings.seed)
        self.trainer = self._trainer(fresh=state is None)
        if state is not None:
            self.trainer.restore(state)
            self.best = state["best"]
        if self.processes.first:
            self.folder.forget_after(self.trainer.step)
        stopped = False
        with Report(self.folder, self.manner, self.processes, self.trainer) as report:
            self.trainer.restart_clock()
            loader = self._batches()
            while self.trainer.step < self.iterations and not stopped:
                self.trainer.advance(loader)
                stopped = self.processes.any(interruption.signal is not None) and self.trainer.step < self.iterations
                self._after_step(report, stopped)
        self.processes.wait()
        return Outcome(
            last=self.folder.last,
            best=None if self.best is None else self.folder.best,
            iteration=self.trainer.step,
            mean_iou=self.best,
            stopped_by=interruption.signal if stopped else None,
        )

    def _trainer(self, *, fresh: bool) -> Trainer:
        model = begin(self.entry, self.settings, self.pictures, load=fresh)
        channels_last = self.manner.channels_last
        if channels_last is None:
            channels_last = suits_channels_last(model, self.processes.device, self.settings.recipe.precision)
        return Trainer(model, self.settings, self.processes, self.share, channels_last=channels_last)

    def _batches(self) -> Batches:
        protocol, workers = self.entry.protocol, self.manner.workers
        pictures: SegmentationData | InMemory = InMemory(self.pictures) if self.manner.cache else self.pictures
        draws = Draws(
            pictures,
            self.settings.recipe.augmentation,
            mean=protocol.mean,
            std=protocol.std,
            classes=self.trainer.model.num_classes,
            seed=self.settings.seed,
        )
        return batches(
            draws,
            self.share,
            self.trainer.step,
            self.iterations,
            workers=default_workers() if workers is None else workers,
            pinned=self.processes.device.type == "cuda",
        )

    def _after_step(self, report: Report, stopped: bool) -> None:
        step = self.trainer.step
        ends = step == self.iterations
        report.tick()
        saves = ends or stopped or step % self.manner.save_every == 0
        validates = self.val is not None and not stopped and (ends or step % max(1, self.interval or 0) == 0)
        if saves or validates or step % self.manner.log_every == 0:
            self._checked(report.losses)
        if validates:
            self._checked(self.trainer.require_finite_weights)
            self._validate(report)
        if saves:
            self._checked(self.trainer.require_finite_weights)
            self._save()
        if saves or validates:
            self.trainer.restart_clock()

    def _checked(self, action: Any) -> None:
        try:
            action()
        except TrainingError as error:
            kept = f"{self.folder.last} is the last good one" if self.folder.last.exists() else "nothing was saved yet"
            raise TrainingError(
                f"{error}; the run has stopped, {kept}. A lower learning rate (--set optimizer.lr=...), warm-up or "
                "clip_norm may help; float16 may need bfloat16 or float32"
            ) from error

    def _validate(self, report: Report) -> None:
        assert self.val is not None
        metrics = validate(self.trainer.result, self.val, limit=self.manner.val_pictures)
        report.metrics(metrics)
        value = metrics["mIoU"]
        if value is not None and (self.best is None or value > self.best):
            self.best = value
            if self.processes.first:
                self._write(self.folder.best)

    def _save(self) -> None:
        if self.processes.first:
            self._write(self.folder.last)
            self.folder.write_state({**self.trainer.state(), "best": self.best})

    def _write(self, path: Path) -> None:
        trainer = self.trainer
        self.folder.write_weights(path, trainer.result, iteration=trainer.step, half=self.settings.half)


def split_batch(recipe: Recipe, manner: Manner, processes: Processes) -> Share:
    """How the recipe's batch is split: over processes, and over passes of at most ``per_device`` pictures."""
    own, rest = divmod(recipe.batch_size, processes.world)
    if rest or not own:
        raise OptionError(f"a batch of {recipe.batch_size} cannot be split over {processes.world} processes")
    passes = recipe.accumulate
    if manner.per_device is not None:
        passes = max(passes, -(-own // manner.per_device))
    while own % passes:
        passes += 1
    return Share(own // passes, passes, processes.rank, processes.world)
