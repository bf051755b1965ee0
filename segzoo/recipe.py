"""How a model is trained, as data: length, optimizer, schedule, augmentation, losses, precision.

A recipe is made of frozen dataclasses whose fields are checked. It comes from the index (``entry.recipe``), can be
overridden field by field, and is saved with a run. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from segzoo.errors import RecipeError
from segzoo.fields import assign, from_plain, to_plain

__all__ = [
    "Augmentation",
    "HardPixels",
    "HeadLoss",
    "LayerDecay",
    "LossTerm",
    "Losses",
    "OptimizerSpec",
    "ParameterGroup",
    "PointSampling",
    "Precision",
    "Recipe",
    "ScheduleSpec",
]

Precision = Literal["float32", "float16", "bfloat16"]
LossName = Literal[
    "cross_entropy", "binary_cross_entropy", "dice", "dice_per_class", "focal", "jaccard", "lovasz", "tversky"
]


_CROSS_ENTROPIES = ("cross_entropy", "binary_cross_entropy")


def _require(holds: bool, field: str, rule: str, value: object) -> None:
    if not holds:
        raise RecipeError(f"recipe: {field} must be {rule}, not {value!r}")


def _fraction(value: float, field: str) -> None:
    _require(0 <= value <= 1, field, "between 0 and 1", value)


def _not_negative(value: float, field: str) -> None:
    # Also refuses NaN, which compares false with everything.
    _require(0 <= value < float("inf"), field, "a finite number of at least 0", value)


@dataclass(frozen=True)
class ParameterGroup:
    """Factors for the parameters whose name contains ``match``.

    Of several groups that fit a name, the one with the longest ``match`` counts, the alphabetically first among
    equally long ones, as in the published implementation.
    """

    match: str
    lr: float = 1.0
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        _require(bool(self.match), "optimizer.groups.match", "a part of parameter names", self.match)
        _not_negative(self.lr, "optimizer.groups.lr")
        _not_negative(self.weight_decay, "optimizer.groups.weight_decay")


@dataclass(frozen=True)
class LayerDecay:
    """Learning rates that fall towards the input by ``rate`` a step; vectors and biases are not decayed.

    ``kind``: ``'layer'``, a step a transformer block (BEiT, MAE); ``'stage'``, a step a stage (ConvNeXt).
    ``layers``: the published number of steps between embedding and head; the head's factor is 1.
    """

    kind: Literal["layer", "stage"]
    rate: float
    layers: int

    def __post_init__(self) -> None:
        _require(0 < self.rate <= 1, "optimizer.layer_decay.rate", "above 0 and at most 1", self.rate)
        _require(self.layers >= 1, "optimizer.layer_decay.layers", "at least 1", self.layers)


@dataclass(frozen=True)
class OptimizerSpec:
    """The optimizer and what differs between parameters. ``momentum`` is SGD's; ``betas`` and ``eps`` are Adam's."""

    name: Literal["SGD", "Adam", "AdamW"] = "SGD"
    lr: float = 0.01
    weight_decay: float = 0.0005
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    groups: tuple[ParameterGroup, ...] = ()
    layer_decay: LayerDecay | None = None

    def __post_init__(self) -> None:
        for field in ("lr", "weight_decay", "momentum", "eps"):
            _not_negative(getattr(self, field), f"optimizer.{field}")
        for beta in self.betas:
            _require(0 <= beta < 1, "optimizer.betas", "two numbers of at least 0 and below 1", self.betas)
        if self.groups and self.layer_decay is not None:
            raise RecipeError("recipe: optimizer.groups and optimizer.layer_decay exclude each other; leave one out")


@dataclass(frozen=True)
class ScheduleSpec:
    """The learning rate over the iterations.

    ``'poly'``: from the group's own rate to ``min_lr`` by ``(1 - step / iterations) ** power``. ``'step'``: times
    ``gamma`` at each of ``steps``. ``'constant'``: as it is. The first ``warmup_iterations`` are scaled, from
    ``warmup_ratio`` on: ``'linear'``, ``'exponential'``, or ``'constant'``.
    """

    policy: Literal["poly", "step", "constant"] = "poly"
    power: float = 0.9
    min_lr: float = 0.0001
    steps: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: Literal["linear", "exponential", "constant"] | None = None
    warmup_iterations: int = 0
    warmup_ratio: float = 0.1

    def __post_init__(self) -> None:
        for field in ("power", "min_lr", "gamma"):
            _not_negative(getattr(self, field), f"schedule.{field}")
        _require(self.warmup_iterations >= 0, "schedule.warmup_iterations", "at least 0", self.warmup_iterations)
        _fraction(self.warmup_ratio, "schedule.warmup_ratio")
        _require(list(self.steps) == sorted(set(self.steps)), "schedule.steps", "in rising order", self.steps)
        _require((self.policy == "step") == bool(self.steps), "schedule.steps", "given for 'step' only", self.steps)


@dataclass(frozen=True)
class Augmentation:
    """What a training picture goes through, in this order.

    ``scale``: two lengths in pixels; the picture is fitted, ratio kept, so that its long side is at most the larger
    and its short side at most the smaller, both first multiplied by one random factor within ``ratio_range``. None
    leaves the size alone but for that factor. ``crop_size``: (height, width); a crop in which one class covers more
    than ``cat_max_ratio`` of the labelled pixels is drawn anew, up to ten times. ``flip``: the probability of a
    horizontal flip. ``photometric``: random brightness, contrast, saturation and hue. At last the picture is padded
    to the crop's size, with 0 after normalisation and with ignored labels.
    """

    scale: tuple[int, int] | None = None
    ratio_range: tuple[float, float] = (0.5, 2.0)
    crop_size: tuple[int, int] | None = None
    cat_max_ratio: float = 0.75
    flip: float = 0.5
    photometric: bool = True

    def __post_init__(self) -> None:
        low, high = self.ratio_range
        _require(0 < low <= high, "augmentation.ratio_range", "two rising numbers above 0", self.ratio_range)
        for field in ("scale", "crop_size"):
            size = getattr(self, field)
            _require(size is None or min(size) >= 1, f"augmentation.{field}", "two lengths of at least 1", size)
        _require(0 < self.cat_max_ratio <= 1, "augmentation.cat_max_ratio", "above 0, at most 1", self.cat_max_ratio)
        _fraction(self.flip, "augmentation.flip")


@dataclass(frozen=True)
class LossTerm:
    """One loss of a head, times ``weight``.

    ``class_weight``: a factor per class, in the order of the logits. ``avg_non_ignore``: (binary) cross-entropy is
    averaged over the labelled pixels only; as published, it is averaged over all, ignored ones included.
    """

    name: LossName = "cross_entropy"
    weight: float = 1.0
    class_weight: tuple[float, ...] | None = None
    avg_non_ignore: bool = False

    def __post_init__(self) -> None:
        _not_negative(self.weight, "losses.weight")
        for factor in self.class_weight or ():
            _not_negative(factor, "losses.class_weight")
        if self.class_weight is not None and self.name in ("binary_cross_entropy", "dice"):
            raise RecipeError(f"recipe: the loss {self.name} has no class_weight; leave it out")
        if self.avg_non_ignore and self.name not in _CROSS_ENTROPIES:
            raise RecipeError(f"recipe: the loss {self.name} has no avg_non_ignore; leave it out")


@dataclass(frozen=True)
class HardPixels:
    """Online hard example mining: only the hardest pixels count.

    They are those whose probability of the right class is below ``threshold``, and at least ``min_kept`` a picture;
    without a threshold, the ``min_kept`` a picture of the largest loss.
    """

    min_kept: int
    threshold: float | None = None

    def __post_init__(self) -> None:
        _require(self.min_kept >= 1, "losses.hard_pixels.min_kept", "at least 1", self.min_kept)
        if self.threshold is not None:
            _fraction(self.threshold, "losses.hard_pixels.threshold")


@dataclass(frozen=True)
class HeadLoss:
    """The losses of one head."""

    terms: tuple[LossTerm, ...] = (LossTerm(),)
    hard_pixels: HardPixels | None = None

    def __post_init__(self) -> None:
        _require(bool(self.terms), "losses.terms", "one or more losses", self.terms)
        if self.hard_pixels is not None and any(term.name not in _CROSS_ENTROPIES for term in self.terms):
            raise RecipeError("recipe: losses.hard_pixels goes with cross-entropies only; leave it out")


@dataclass(frozen=True)
class PointSampling:
    """How PointRend chooses the points that it is trained on."""

    num_points: int = 2048
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.75

    def __post_init__(self) -> None:
        _require(self.num_points >= 1, "losses.points.num_points", "at least 1", self.num_points)
        _require(self.oversample_ratio >= 1, "losses.points.oversample_ratio", "at least 1", self.oversample_ratio)
        _fraction(self.importance_sample_ratio, "losses.points.importance_sample_ratio")


@dataclass(frozen=True)
class Losses:
    """The losses of every head.

    ``decode`` and ``auxiliary``: one :class:`HeadLoss` a head, or one for all of them. ``presence_weight``: weight of
    EncNet's loss on which classes a picture holds. ``points``: PointRend's. ``stride``: losses are taken at every
    ``stride``-th pixel of every ``stride``-th row, at a fraction of the cost; 1, as published, takes them all.
    """

    decode: tuple[HeadLoss, ...] = (HeadLoss(),)
    auxiliary: tuple[HeadLoss, ...] = (HeadLoss((LossTerm(weight=0.4),)),)
    presence_weight: float = 0.2
    points: PointSampling = PointSampling()
    stride: int = 1

    def __post_init__(self) -> None:
        _require(self.stride >= 1, "losses.stride", "at least 1", self.stride)
        _require(bool(self.decode), "losses.decode", "one or more heads' losses", self.decode)
        _require(bool(self.auxiliary), "losses.auxiliary", "one or more heads' losses", self.auxiliary)
        _not_negative(self.presence_weight, "losses.presence_weight")


@dataclass(frozen=True)
class Recipe:
    """All that decides a training run but the data and the seed.

    ``iterations`` are optimizer steps; ``batch_size`` is the number of pictures a step sees over all devices together,
    ``accumulate`` the number of passes that share it where the published run accumulated gradients. ``clip_norm``:
    the largest norm of all gradients together. ``backbone_weights``: key of the starting point in
    ``model_index/backbones.yaml``, None for a random start. ``ema``: decay a step of a running average of the weights,
    which is then what is evaluated and written; None writes the weights themselves.
    """

    iterations: int
    batch_size: int
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    augmentation: Augmentation = Augmentation()
    losses: Losses = Losses()
    precision: Precision = "float32"
    clip_norm: float | None = None
    accumulate: int = 1
    backbone_weights: str | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        for field in ("iterations", "batch_size", "accumulate"):
            _require(getattr(self, field) >= 1, field, "at least 1", getattr(self, field))
        _require(self.precision in get_args(Precision), "precision", "float32, float16 or bfloat16", self.precision)
        if self.clip_norm is not None:
            _require(0 < self.clip_norm < float("inf"), "clip_norm", "a finite number above 0", self.clip_norm)
        if self.ema is not None:
            _require(0 <= self.ema < 1, "ema", "at least 0 and below 1", self.ema)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """The recipe that :meth:`as_dict` wrote, or that is written by hand in the same form.

        Fields that are left out have their defaults.

        Raises:
            RecipeError: a field is missing, unknown, or has a value that it cannot take; names field and type.
        """
        recipe: Recipe = from_plain(cls, value, "")
        return recipe

    def as_dict(self) -> dict[str, Any]:
        """Every field as dicts, lists, texts, numbers and None, ready for JSON or YAML."""
        plain: dict[str, Any] = to_plain(dataclasses.asdict(self))
        return plain

    def override(self, settings: Sequence[str]) -> Recipe:
        """Another recipe with some fields replaced.

        Args:
            settings: texts such as ``'optimizer.lr=0.01'``, ``'iterations=2000'``, ``'clip_norm=null'``,
                ``'losses.decode.0.terms=[{name: lovasz}]'``. A dotted path names the field, a number the place in
                a list; the value is YAML. Later ones win.

        Raises:
            RecipeError: a setting has no '=', names no field, or its value is not of the field's type.
        """
        plain = self.as_dict()
        for setting in settings:
            assign(plain, setting)
        return Recipe.from_dict(plain)
