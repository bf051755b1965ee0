"""A run's folder: recipe, log, weight files and the state to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from segzoo import records
from segzoo.errors import TrainingError
from segzoo.model import Model
from segzoo.training.settings import Settings
from segzoo.weights import write_safetensors

__all__ = ["RunFolder"]

_FORMAT = 1


@dataclass(frozen=True)
class RunFolder:
    """``path`` holds ``recipe.yaml``, ``log.jsonl``, ``last.safetensors``, ``best.safetensors`` and ``state.pt``."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The settings that the run was started with, nothing left to defaults."""
        return self.path / "recipe.yaml"

    @property
    def log(self) -> Path:
        """JSON lines: records of kind ``training`` and ``validation``."""
        return self.path / "log.jsonl"

    @property
    def last(self) -> Path:
        """The weights of the last save."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the highest mIoU so far."""
        return self.path / "best.safetensors"

    @property
    def state(self) -> Path:
        """All that a run needs to go on as if it had not stopped."""
        return self.path / "state.pt"

    def open(self, settings: Settings, *, resume: bool) -> None:
        """Make the folder and write the settings; or, to resume, compare them with those that are there.

        A run that ended before it saved anything is begun anew.

        Raises:
            TrainingError: the folder holds a run and ``resume`` is not set, or that run was another one.
        """
        if self.state.exists():
            if not resume:
                raise TrainingError(
                    f"{self.path} already holds a run; resume it (--resume), or write into another folder"
                )
            self._compare(settings)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(settings.as_dict(), sort_keys=False, allow_unicode=True)
        _write(self.recipe, text)

    def _compare(self, settings: Settings) -> None:
        try:
            before = Settings.from_dict(yaml.safe_load(self.recipe.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise TrainingError(f"{self.recipe} cannot be read: {error}") from error
        old, new = _flat(before.as_dict()), _flat(settings.as_dict())
        different = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if different:
            shown = "; ".join(f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in different[:5])
            raise TrainingError(
                f"{self.path} holds another run ({shown}). Resume it with the settings that it was started with, or "
                f"start a new one in another folder, from its weights if you like (--weights {self.last})"
            )

    def note(self, record: Mapping[str, Any]) -> None:
        """Add a record to the log."""
        records.append(self.log, record)

    def forget_after(self, iteration: int) -> None:
        """Take the records of later iterations out of the log: the run goes on from ``iteration``."""
        if self.log.exists():
            kept = [record for record in records.read([self.log]) if record["iteration"] <= iteration]
            records.write(self.log, kept)

    def write_weights(self, path: Path, model: Model, *, iteration: int, half: bool) -> None:
        """Write a model's tensors, whole or not at all; ``half``: those of two dimensions and more as float16."""
        tensors = {
            name: value.half() if half and value.ndim > 1 and value.is_floating_point() else value
            for name, value in model.state_dict().items()
        }
        metadata = {
            "format": "pt",
            "entry": model.entry.name,
            "classes": json.dumps(list(model.classes), ensure_ascii=False),
            "palette": json.dumps([list(colour) for colour in model.palette]),
            "iteration": str(iteration),
        }
        write_safetensors(path, tensors, metadata)

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write the state, whole or not at all."""
        part = self.state.with_suffix(".part")
        torch.save({**state, "format": _FORMAT}, part)
        os.replace(part, self.state)

    def read_state(self) -> dict[str, Any] | None:
        """The state, its tensors on the CPU; None if the run has not saved one yet.

        Raises:
            TrainingError: the file is damaged or of another format.
        """
        if not self.state.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch names no type for what is wrong with a file
            raise TrainingError(f"{self.state} cannot be read: {error}; start anew in another folder") from error
        if state.get("format") != _FORMAT:
            raise TrainingError(f"{self.state} is of format {state.get('format')}, this version's is {_FORMAT}")
        return state


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
