"""What a run tells: the log, the progress bar, lines for a terminal or a file, TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from tqdm import tqdm

from segzoo.errors import OptionError
from segzoo.records import environment
from segzoo.training.distributed import Processes
from segzoo.training.engine import Trainer
from segzoo.training.folder import RunFolder
from segzoo.training.settings import Manner

__all__ = ["Report"]


class Report:
    """Collects on all processes, tells on the first."""

    def __init__(self, folder: RunFolder, manner: Manner, processes: Processes, trainer: Trainer) -> None:
        self.folder, self.processes, self.trainer = folder, processes, trainer
        self._iterations = trainer.recipe.iterations
        self._speaks = processes.first and manner.progress
        self._bar = tqdm(
            initial=trainer.step,
            total=self._iterations,
            desc="training",
            disable=None if self._speaks else True,  # None: no bar where nobody watches
        )
        self._told_environment = False
        self._writer: Any = _tensorboard(folder) if manner.tensorboard and processes.first else None

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def tick(self) -> None:
        """A step is done."""
        self._bar.update()

    def losses(self) -> None:
        """Log the means since the last time.

        Raises:
            TrainingError: one of them is not finite.
        """
        rate = self.trainer.rate  # of the next step; the record is read as "by now"
        window = self.trainer.window()
        if not window.steps or not self.processes.first:
            return
        total = sum(value for name, value in window.losses.items() if "loss" in name)
        record: dict[str, Any] = {
            "kind": "training",
            "iteration": self.trainer.step,
            "iterations": self._iterations,
            "loss": total,
            "losses": window.losses,
            "lr": rate,
            "steps": window.steps,
            "seconds_per_iteration": window.seconds,
            "data_seconds": window.data_seconds,
        }
        device = self.processes.device
        if device.type == "cuda":
            record["memory_bytes"] = torch.cuda.max_memory_allocated(device)
        if not self._told_environment:
            record["environment"] = {**environment(str(device)), "processes": self.processes.world}
            self._told_environment = True
        self.folder.note(record)
        self._scalars({"loss": total, "lr": rate, **{f"train/{k}": v for k, v in window.losses.items()}})
        self._bar.set_postfix(loss=f"{total:.4f}", refresh=False)
        if self._bar.disable:
            self._line(f"loss {total:.4f}, {window.seconds:.3f} s a step ({window.data_seconds:.3f} s for data)")

    def metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Log an evaluation: percentages by name."""
        if not self.processes.first:
            return
        self.folder.note({"kind": "validation", "iteration": self.trainer.step, "metrics": dict(metrics)})
        self._scalars({f"val/{name}": value for name, value in metrics.items() if value is not None})
        shown = ", ".join(f"{name} {value:.2f}" for name, value in metrics.items() if value is not None)
        self._line(shown)

    def _line(self, text: str) -> None:
        if self._speaks:
            tqdm.write(f"{self.trainer.step}/{self._iterations}: {text}", file=sys.stdout)
            sys.stdout.flush()

    def _scalars(self, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, self.trainer.step)


def _tensorboard(folder: RunFolder) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise OptionError("TensorBoard is not installed: pip install 'segzoo[tensorboard]'") from None
    return SummaryWriter(str(folder.path / "tensorboard"))
