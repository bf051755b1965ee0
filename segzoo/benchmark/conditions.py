"""What is measured and how; no torch, so that a command line is parsed at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from segzoo.errors import OptionError
from segzoo.index import Entry, find

__all__ = [
    "DTYPES",
    "Conditions",
    "InferenceConditions",
    "TrainingConditions",
    "from_dict",
    "published_batch_size",
    "tested_size",
]

DTYPES = ("float32", "float16", "bfloat16")

_PHOTO_RATIO = 4 / 3
_USUAL_BATCH_SIZE = 2


@dataclass(frozen=True)
class InferenceConditions:
    """How an entry's inference is measured; the defaults are those of the published tables.

    Attributes:
        name: the entry's canonical name.
        size: (height, width) of the pictures as the network sees them, before they are cut into windows.
        device: such as ``'cpu'`` or ``'cuda:0'``.
        dtype: of weights and activations.
        images: pictures a figure is taken from, the first ``not_counted`` of which only warm up.
        batch_sizes: for throughput; a picture is no longer cut into windows there but is one input.
        prepared: measure ``model.optimize()`` instead of the network as it is.
        pretrained: load the published weights; else they are random, which takes the same time.
    """

    name: str
    size: tuple[int, int]
    device: str = "cpu"
    dtype: str = "float32"
    images: int = 200
    not_counted: int = 5
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    prepared: bool = False
    pretrained: bool = False
    work: Literal["inference"] = "inference"

    def __post_init__(self) -> None:
        _check_dtype(self.dtype)
        _check_counts("images", self.images, self.not_counted)
        for size in self.batch_sizes:
            _check_positive("batch size", size)
        for side in self.size:
            _check_positive("size", side)

    @property
    def as_tested(self) -> bool:
        """Whether these are the conditions of the published speeds; how many pictures there are is said beside."""
        return self.size == tested_size(self.name) and self.dtype == "float32" and not self.prepared


@dataclass(frozen=True)
class TrainingConditions:
    """How an entry's training step is measured: forward, all losses, backward, a step of SGD, on made pictures.

    ``size`` (height, width) and ``batch_size`` are those of one device. ``dtype`` other than float32 means automatic
    mixed precision.
    """

    name: str
    size: tuple[int, int]
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = 2
    iterations: int = 55
    not_counted: int = 5
    work: Literal["training"] = "training"

    def __post_init__(self) -> None:
        _check_dtype(self.dtype)
        _check_counts("iterations", self.iterations, self.not_counted)
        _check_positive("batch size", self.batch_size)
        for side in self.size:
            _check_positive("size", side)

    @property
    def as_tested(self) -> bool:
        """Whether these are the conditions of the published training memory and speed."""
        entry = find(self.name)
        usual = (entry.crop_size, published_batch_size(entry), "float32")
        return (self.size, self.batch_size, self.dtype) == usual


Conditions = InferenceConditions | TrainingConditions


def from_dict(fields: Mapping[str, Any]) -> Conditions:
    """Conditions from what ``dataclasses.asdict`` and JSON made of them."""
    kind: Callable[..., Conditions] = TrainingConditions if fields["work"] == "training" else InferenceConditions
    known = {field.name for field in dataclasses.fields(TrainingConditions)}
    known |= {field.name for field in dataclasses.fields(InferenceConditions)}
    unknown = set(fields) - known
    if unknown:
        raise OptionError(f"no condition is named {', '.join(sorted(unknown))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


def tested_size(entry: Entry | str) -> tuple[int, int]:
    """(height, width) of the network's input when the published speeds were taken: a picture of the test set, resized.

    The index's ``reported.inference.resolution`` is the training crop, which the published speeds were not measured
    at: a picture went through the test protocol as it is, on Cityscapes 1024 x 2048. A protocol whose longer length
    is more than twice the shorter only bounds pictures of odd shapes (ADE20K: 2048 x 512); a 4:3 picture stands for
    those then.
    """
    entry = find(entry) if isinstance(entry, str) else entry
    protocol = entry.protocol
    if protocol.scale is None:
        if entry.crop_size is None:
            raise OptionError(f"{entry.name} names no size to measure at; give one, such as --size 512x1024")
        return entry.crop_size
    first, second = protocol.scale
    if not protocol.keep_ratio:
        height, width = second, first
    else:
        height, width = min(first, second), max(first, second)
        if width > 2 * height:
            width = int(height * _PHOTO_RATIO + 0.5)
    divisor = protocol.size_divisor or 1
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def published_batch_size(entry: Entry) -> int:
    """Pictures of a training step on one of the GPUs that the entry was trained on; 2 where the index does not say."""
    devices = re.match(r"(\d+)x", entry.reported.train_hardware or "")
    if entry.batch_size is None or devices is None:
        return _USUAL_BATCH_SIZE
    return max(1, entry.batch_size // int(devices[1]))


def _check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise OptionError(f"dtype is one of {', '.join(DTYPES)}, not {dtype!r}")


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise OptionError(f"{name} is 1 or more, not {value}")


def _check_counts(name: str, total: int, not_counted: int) -> None:
    if not 0 <= not_counted < total:
        raise OptionError(f"of {total} {name}, {not_counted} cannot be left uncounted: at least one must count")
