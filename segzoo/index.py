"""The index: which models there are, what each computes and where its weights lie.

``model_index/`` holds one YAML file per method, ``datasets.yaml`` and ``backbones.yaml``. This module reads them into
frozen dataclasses, checks every field, and resolves names. It imports neither torch nor anything else of segzoo but
errors and recipes.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from segzoo.errors import AmbiguousNameError, IndexSchemaError, OptionError, UnknownNameError
from segzoo.index_datasets import Dataset, LabelForm, Layout, SplitPart, dataset, datasets, index_directory
from segzoo.recipe import Recipe

__all__ = [
    "Architecture",
    "Dataset",
    "Entry",
    "Index",
    "Inference",
    "LabelForm",
    "Layout",
    "ModuleSpec",
    "Paper",
    "Protocol",
    "Reported",
    "SplitPart",
    "Weights",
    "dataset",
    "datasets",
    "default_index",
    "find",
    "index_directory",
    "info",
    "list_models",
    "scan_names",
]

SortKey = Literal["name", "mIoU", "memory", "fps"]


@dataclass(frozen=True)
class Paper:
    """Title and address of the paper that a method comes from."""

    title: str
    url: str


@dataclass(frozen=True)
class ModuleSpec:
    """The name of a network part (a class of ``segzoo.build``'s tables) and its keyword arguments.

    An argument that is itself a ``ModuleSpec`` is a part that this one holds.
    """

    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """What an entry is built from. Two decode heads are a cascade: each sees the logits of the one before.

    ``export``: whether a file for another runtime can take pictures of any size, of one size, or cannot be made.
    """

    name: str
    backbone: ModuleSpec
    decode_head: ModuleSpec | tuple[ModuleSpec, ...]
    neck: ModuleSpec | None = None
    auxiliary_head: ModuleSpec | tuple[ModuleSpec, ...] | None = None
    export: Literal["dynamic", "fixed", "none"] = "dynamic"


@dataclass(frozen=True)
class Protocol:
    """How an entry is tested: everything between the picture and the network's input, and how windows are laid.

    ``scale``: two lengths in pixels; with ``keep_ratio`` the picture is fitted so that its long side is at most the
    larger and its short side at most the smaller. None leaves the picture's size alone. ``size_divisor``: afterwards
    each side is rounded up to a multiple. ``mean`` and ``std``: RGB order, 0 to 255. ``crop_size`` and ``stride``:
    (height, width) of the windows in ``slide`` mode, None in ``whole`` mode.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: Literal["whole", "slide"] = "whole"
    scale: tuple[int, int] | None = None
    keep_ratio: bool = True
    size_divisor: int | None = None
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None


@dataclass(frozen=True)
class Weights:
    """Where a weight file lies and how it is recognised.

    ``addresses`` are tried in order. ``sha256`` is the full, measured hash; ``sha256_prefix`` the eight digits of the
    published file name, a hint only. ``size`` is in bytes. Absent figures are None.
    """

    addresses: tuple[str, ...]
    sha256: str | None = None
    sha256_prefix: str | None = None
    size: int | None = None

    @property
    def filename(self) -> str:
        """Last part of the first address."""
        return self.addresses[0].split("?", 1)[0].rsplit("/", 1)[-1].removeprefix("asset:")


@dataclass(frozen=True)
class Inference:
    """A published inference time: milliseconds an image at batch 1, and how it was measured."""

    ms: float
    hardware: str
    precision: str
    resolution: tuple[int, int]

    @property
    def fps(self) -> float:
        """Images a second."""
        return 1000.0 / self.ms


@dataclass(frozen=True)
class Reported:
    """Figures as published, never corrected. ``metrics`` are percentages under their published names."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    train_memory_gb: float | None = None
    inference: Inference | None = None
    train_hardware: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class Entry:
    """One published checkpoint: the network, how it is tested, where its weights are, what was reported of it.

    ``crop_size`` is the training crop (height, width); ``iterations`` the length of the schedule; ``backbone`` the
    published label. ``aliases`` holds the published spellings; ``names`` all names that resolve to the entry.
    ``recipe`` is how it was trained, None where that is not known.
    """

    name: str
    method: str
    paper: Paper
    architecture: Architecture
    backbone: str
    dataset: str
    num_classes: int
    align_corners: bool
    protocol: Protocol
    weights: Weights
    reported: Reported = Reported()
    short_name: str | None = None
    aliases: tuple[str, ...] = ()
    crop_size: tuple[int, int] | None = None
    iterations: int | None = None
    batch_size: int | None = None
    mixed_precision: bool = False
    note: str | None = None
    recipe: Recipe | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the entry: canonical, short, both published spellings, the weight file's."""
        stem = re.sub(r"\.(pth|safetensors)$", "", self.weights.filename)
        listed = (self.name, self.short_name, *self.aliases, stem)
        return tuple(dict.fromkeys(name for name in listed if name))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return dataset(self.dataset).classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of each class, (red, green, blue), 0 to 255."""
        return dataset(self.dataset).palette


def scan_names(text: str) -> list[str]:
    """Canonical names in a method file's text: the keys below ``entries:``, each alone on a line, indented by two."""
    return re.findall(r"^  (\w+):[ ]*(?:#.*)?$", text.partition("\nentries:\n")[2], flags=re.MULTILINE)


def _key(name: str) -> str:
    """The form under which names are compared: published spellings differ from identifiers in ``-`` and ``.``."""
    return re.sub(r"[-.]", "_", re.sub(r"\.(pth|safetensors)$", "", name.strip()))


class Index:
    """The entries of some method files, and the names that resolve to them.

    Canonical names are found by scanning the files, which takes a fraction of the time of parsing them; a file is
    parsed when more of it is wanted.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._file_of: dict[str, Path] = {}
        for path in files:
            for name in scan_names(path.read_text(encoding="utf-8")):
                if name in self._file_of:
                    raise IndexSchemaError(f"{path.name}: entry '{name}' is also in {self._file_of[name].name}")
                self._file_of[name] = path

    @functools.cached_property
    def _parsed(self) -> dict[Path, dict[str, Entry]]:
        return {}

    def _entries_of(self, path: Path) -> dict[str, Entry]:
        if path not in self._parsed:
            from segzoo.index_schema import read_entries

            self._parsed[path] = {entry.name: entry for entry in read_entries(path)}
        return self._parsed[path]

    @functools.cached_property
    def entries(self) -> Mapping[str, Entry]:
        """Every entry by its canonical name."""
        return {name: self._entries_of(path)[name] for name, path in self._file_of.items()}

    @functools.cached_property
    def _owners(self) -> dict[str, tuple[str, ...]]:
        owners: dict[str, tuple[str, ...]] = {}
        for entry in self.entries.values():
            for key in {_key(name) for name in entry.names}:
                owners[key] = (*owners.get(key, ()), entry.name)
        return owners

    def ambiguous(self) -> dict[str, tuple[str, ...]]:
        """Names that two or more entries claim; a sound index has none."""
        return {key: owners for key, owners in self._owners.items() if len(owners) > 1}

    def find(self, name: str) -> Entry:
        """The entry that ``name`` means: canonical, short or published name, or the weight file's.

        Raises:
            UnknownNameError: no entry has that name; the message lists close ones.
            AmbiguousNameError: two or more entries claim it; the message lists them.
        """
        if not isinstance(name, str):
            raise OptionError(f"a model name is a string, not {type(name).__name__}")
        key = _key(name)
        if key in self._file_of:
            return self._entries_of(self._file_of[key])[key]
        owners = self._owners.get(key, ())
        if len(owners) == 1:
            return self.entries[owners[0]]
        if owners:
            raise AmbiguousNameError(f"{name!r} could mean {len(owners)} entries: {', '.join(owners)}")
        suggestions = self._close(key)
        hint = f"; did you mean {', '.join(suggestions)}?" if suggestions else "; segzoo.list_models() lists them all"
        raise UnknownNameError(f"no model is named {name!r}{hint}")

    def _close(self, key: str, count: int = 5) -> list[str]:
        """Names to offer for one that nothing has: those with all of its words first, then those spelt like it.

        One name an entry, the short one where it is what came close.
        """
        easy = {_key(entry.short_name or name): name for name, entry in self.entries.items()}
        easy.update((name, name) for name in self.entries)
        words = set(key.split("_"))
        holding = sorted((name for name in easy if words <= set(name.split("_"))), key=lambda name: (len(name), name))
        alike = difflib.get_close_matches(key, easy, n=2 * count, cutoff=0.6)
        chosen: dict[str, str] = {}
        for name in (*holding, *alike):
            chosen.setdefault(easy[name], name)
        return list(chosen.values())[:count]

    def list_models(
        self,
        pattern: str = "*",
        *,
        method: str | None = None,
        backbone: str | None = None,
        dataset: str | None = None,
        sort: SortKey = "name",
    ) -> list[str]:
        """Canonical names of the entries that fit every filter; see :func:`list_models`."""
        if pattern == "*" and method is backbone is dataset is None and sort == "name":
            return sorted(self._file_of)
        pattern = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
        chosen = [
            entry
            for entry in self.entries.values()
            if any(
                fnmatch.fnmatchcase(_key(name), pattern) or fnmatch.fnmatchcase(name, pattern) for name in entry.names
            )
            and (method is None or _loose(method) == _loose(entry.method))
            and (
                backbone is None
                or _loose(backbone) in (_loose(entry.backbone), _loose(entry.architecture.backbone.type))
            )
            and (dataset is None or _loose(dataset) == _loose(entry.dataset))
        ]
        return [entry.name for entry in sorted(chosen, key=_sort_key(sort))]


def _loose(text: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", text.lower())


def _sort_key(sort: str) -> Any:
    """Best first for figures, with the entries that lack the figure last; names settle ties."""
    figures = {
        "name": lambda entry: 0.0,
        "mIoU": lambda entry: -entry.reported.metrics.get("mIoU", float("-inf")),
        "memory": lambda entry: entry.reported.train_memory_gb or float("inf"),
        "fps": lambda entry: entry.reported.inference.ms if entry.reported.inference else float("inf"),
    }
    if sort not in figures:
        raise OptionError(f"sort={sort!r} is unknown; use one of {', '.join(figures)}")
    return lambda entry: (figures[sort](entry), entry.name)


@functools.cache
def default_index() -> Index:
    """The index that ships with segzoo, read once."""
    return Index(
        sorted(
            path for path in index_directory().glob("*.yaml") if path.name not in ("backbones.yaml", "datasets.yaml")
        )
    )


def find(name: str) -> Entry:
    """The entry of segzoo's own index that ``name`` means; see :meth:`Index.find`."""
    return default_index().find(name)


def info(name: str) -> Entry:
    """Everything known of a model, by any of its names; builds nothing and downloads nothing.

    Raises:
        UnknownNameError: no entry has that name; the message lists close ones.
        AmbiguousNameError: two or more entries claim it; the message lists them.
    """
    return find(name)


def list_models(
    pattern: str = "*",
    *,
    method: str | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
    sort: SortKey = "name",
) -> list[str]:
    """Canonical names of the models that fit.

    Args:
        pattern: a shell pattern (``'pspnet_*_cityscapes'``), or text that a name contains; any of a model's names
            may fit.
        method: the method's name (``'PSPNet'``, ``'deeplabv3+'``); case and punctuation do not matter.
        backbone: the published label (``'R-50-D8'``) or the class (``'ResNet'``), compared likewise.
        dataset: the data set's key (``'ade20k'``), compared likewise.
        sort: ``'name'``; or ``'mIoU'``, ``'memory'``, ``'fps'`` for the best published figure first.

    Raises:
        OptionError: ``sort`` is none of these.
    """
    return default_index().list_models(pattern, method=method, backbone=backbone, dataset=dataset, sort=sort)
