"""What a run is started with: all that decides what it computes, and how it goes about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segzoo.errors import OptionError, RecipeError, TrainingError
from segzoo.recipe import Recipe

__all__ = ["PUBLISHED", "Manner", "Settings", "read_recipe"]

PUBLISHED = "published"


@dataclass(frozen=True)
class Settings:
    """All that decides what a run computes; it is saved with the run.

    ``weights``: where it starts: a file's path or address, ``'published'`` for the entry's own, None for the recipe's
    backbone weights. ``backbone_file``: a file or address to take those from instead of the published one.
    ``num_classes``: the data set's, or None. ``freeze``: parts of the network that stay as they are.
    ``half``: weight files hold convolutions and matrices as float16.
    """

    entry: str
    dataset: str
    recipe: Recipe
    weights: str | None = None
    backbone_file: str | None = None
    num_classes: int | None = None
    freeze: tuple[str, ...] = ()
    seed: int = 0
    half: bool = False

    def __post_init__(self) -> None:
        if self.backbone_file is not None and (self.weights is not None or self.recipe.backbone_weights is None):
            raise OptionError("backbone_file goes with a recipe that has backbone_weights, and without weights")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise OptionError(f"seed={self.seed!r}: give a whole number from 0 to {2**32 - 1}")

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for YAML."""
        return {
            "entry": self.entry,
            "dataset": self.dataset,
            "weights": self.weights,
            "backbone_file": self.backbone_file,
            "num_classes": self.num_classes,
            "freeze": list(self.freeze),
            "seed": self.seed,
            "half": self.half,
            "recipe": self.recipe.as_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """What :meth:`as_dict` wrote.

        Raises:
            TrainingError: fields are missing or unknown.
            RecipeError: the recipe is not one.
        """
        try:
            plain = {**values, "recipe": Recipe.from_dict(values["recipe"]), "freeze": tuple(values.get("freeze", ()))}
            return cls(**plain)
        except (TypeError, KeyError) as error:
            raise TrainingError(f"the saved settings of the run are not of this version: {error}") from error


@dataclass(frozen=True)
class Manner:
    """How a run goes about it; nothing here changes what one process computes, but for rounding.

    ``per_device``: pictures that go through the network at once, None for all of a step; the recipe's batch is
    reached by accumulating gradients. ``workers``: processes that read pictures, None for as many as suit the machine.
    ``cache``: keeps decoded pictures in memory. ``log_every``, ``save_every``, ``evaluate_every``: iterations;
    evaluations may be 0 for none. ``val_pictures``: how many pictures an evaluation looks at, None for all.
    """

    per_device: int | None = None
    workers: int | None = None
    cache: bool = False
    channels_last: bool | None = None
    log_every: int = 50
    save_every: int = 500
    evaluate_every: int | None = None
    val_pictures: int | None = None
    tensorboard: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        lowest = {"per_device": 1, "workers": 0, "log_every": 1, "save_every": 1, "evaluate_every": 0}
        for field, least in {**lowest, "val_pictures": 1}.items():
            value = getattr(self, field)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise OptionError(f"{field}={value!r}: give a whole number of at least {least}")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file: its fields, or the file ``recipe.yaml`` of a run.

    Raises:
        RecipeError: the file cannot be read, or holds no recipe.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    if not isinstance(plain, Mapping):
        raise RecipeError(f"{path} holds no recipe, which is a mapping of fields such as iterations and optimizer")
    return Recipe.from_dict(plain.get("recipe", plain))
