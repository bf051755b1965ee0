"""How far an evaluation has come, in a file that is written whole, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from segzoo.errors import OptionError
from segzoo.evaluation.metrics import ConfusionMatrix
from segzoo.evaluation.processes import place

__all__ = ["Identity", "Progress"]

_SECONDS_BETWEEN_SAVES = 20.0

Identity = Mapping[str, object]  # what an evaluation is of: text and numbers by name


class Progress:
    """Counts so far and how many images they are of, kept in a file; one for each process.

    Args:
        path: the file, made by the first save; or a folder, in which the file is named after the identity. Of several
            processes each has its rank in the name.
        identity: what the evaluation is of; a file of another one is refused.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        rank, world = place()
        self.identity = {**identity, "process": f"{rank} of {world}"}
        if path.is_dir():
            path = path / f"{_digest(self.identity)}.json"
        elif world > 1:
            path = path.with_name(f"{path.stem}.{rank}of{world}{path.suffix}")
        self.path = path
        self._saved = time.monotonic()

    def load(self, matrix: ConfusionMatrix) -> int:
        """Take up the counts of the file, if there is one: adds them to ``matrix``, and returns of how many images.

        Raises:
            OptionError: the file is of another evaluation, or no such file at all; the message says what differs.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0
        try:
            state = json.loads(text)
            identity, done = state["identity"], int(state["done"])
            counts = torch.tensor(state["matrix"], dtype=torch.int64)
        except (ValueError, KeyError, TypeError) as error:
            raise OptionError(f"{self.path} is no state of an evaluation ({error}); remove it") from None
        keys = sorted({*identity, *self.identity})
        differing = [key for key in keys if identity.get(key) != self.identity.get(key)]
        if differing:
            what = "; ".join(f"{key} {identity.get(key)!r}, not {self.identity.get(key)!r}" for key in differing)
            raise OptionError(f"{self.path} is of another evaluation: {what}. Name another file, or remove this one")
        if counts.shape != matrix.matrix.shape:
            raise OptionError(f"{self.path} holds counts of shape {tuple(counts.shape)}; remove it")
        matrix.matrix += counts.to(matrix.matrix.device)
        return done

    def save(self, matrix: ConfusionMatrix, done: int) -> None:
        """Write the file whole: under a temporary name, then renamed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {"identity": self.identity, "done": done, "matrix": matrix.matrix.tolist()}
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(temporary, self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._saved = time.monotonic()

    def save_now_and_then(self, matrix: ConfusionMatrix, done: int) -> None:
        """Save if the last time is long ago."""
        if time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES:
            self.save(matrix, done)

    def remove(self) -> None:
        """Forget the file, once the evaluation is complete."""
        self.path.unlink(missing_ok=True)


def _digest(identity: Identity) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
