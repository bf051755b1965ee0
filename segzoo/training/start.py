"""The network that a run begins with: its classes, its first weights, the parts that are left as they are."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segzoo import weights as hub
from segzoo.build import Labels, build, labels_of
from segzoo.datasets.base import SegmentationData
from segzoo.errors import OptionError
from segzoo.index import Entry
from segzoo.model import Model
from segzoo.segmentor import Segmentor
from segzoo.training.settings import PUBLISHED, Settings

__all__ = ["begin", "freeze", "seed_step", "train_mode"]

_log = logging.getLogger("segzoo")


def begin(entry: Entry, settings: Settings, data: SegmentationData, *, load: bool = True) -> Model:
    """The network with its auxiliary heads and first weights, on the CPU.

    What is not loaded is drawn from torch's generator; everything is without ``load``.

    Raises:
        OptionError: ``num_classes`` is not the data set's, or a part to freeze is not there.
        DownloadError, CheckpointError, StateDictMismatchError: of the weights to start from.
    """
    entry = dataclasses.replace(entry, recipe=settings.recipe)
    model = build(entry, model_class=Model, labels=_labels(entry, settings, data), auxiliary=True)
    if load:
        _load_start(model, settings)
    freeze(model, settings.freeze)
    return model


def _load_start(model: Model, settings: Settings) -> None:
    entry, wanted = model.entry, settings.weights
    if wanted is not None:
        path = hub.fetch(entry.weights, name=entry.name) if wanted == PUBLISHED else hub.fetch_address(wanted)
        _load(model, hub.read(path).tensors, source=path)
    elif settings.recipe.backbone_weights is not None:
        hub.start_backbone(model.backbone, settings.recipe.backbone_weights, weights=settings.backbone_file)


def _labels(entry: Entry, settings: Settings, data: SegmentationData) -> Labels:
    count = settings.num_classes
    if count is not None and count != len(data.classes):
        raise OptionError(f"num_classes={count}: {data.name} has {len(data.classes)} classes; leave num_classes out")
    if tuple(data.classes) == entry.classes:
        return labels_of(entry, entry.num_classes)
    return Labels(tuple(data.classes), tuple(data.palette))


def _load(model: Model, tensors: Mapping[str, Tensor], *, source: Path) -> None:
    """Load a weight file; what it cannot have for these classes, or has not for the auxiliary heads, stays fresh."""
    state = model.state_dict()
    by_classes = _class_dependent(model)
    has_auxiliary = any(key.startswith("auxiliary_head.") for key in tensors)
    fresh = {
        key: value
        for key, value in state.items()
        if (key in by_classes and (key not in tensors or tensors[key].shape != value.shape))
        or (key.startswith("auxiliary_head.") and not has_auxiliary)
    }
    if fresh:
        _log.warning("%s: not in %s, initialised afresh: %s", model.entry.name, source.name, ", ".join(fresh))
    dropped = () if model.auxiliary_head is not None else ("auxiliary_head.",)
    own = {key: value.clone() for key, value in tensors.items()}  # training must not write to a mapped file's pages
    hub.load_into(model, {**own, **fresh}, dropped_prefixes=dropped, source=str(source))
    model.reinitialised = tuple(fresh)


def _class_dependent(model: Model) -> set[str]:
    """Keys of the tensors whose shape depends on the number of classes."""
    labels = labels_of(model.entry, model.num_classes + 1)
    other = build(model.entry, model_class=Segmentor, labels=labels, auxiliary=True, device="meta").state_dict()
    return {key for key, value in model.state_dict().items() if other[key].shape != value.shape}


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Leave parts of the network as they are.

    Args:
        model: any module.
        parts: dotted names of modules: ``'backbone'``, ``'backbone.layer1'``.

    Raises:
        OptionError: there is no such part; the message lists what there is.
    """
    modules = dict(model.named_modules())
    for part in parts:
        if not part or part not in modules:
            parent = part.rpartition(".")[0] if part.rpartition(".")[0] in modules else ""
            inner = ", ".join(f"{parent}.{name}" if parent else name for name, _ in modules[parent].named_children())
            raise OptionError(f"freeze: the network has no part {part!r}; there are {inner}")
        modules[part].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise OptionError(f"freeze: {', '.join(parts)} leaves nothing to train")


def train_mode(model: nn.Module, parts: Sequence[str]) -> None:
    """Training mode, but for the frozen ``parts``: their statistics stay as they are too, and nothing is dropped."""
    model.train()
    for part in parts:
        model.get_submodule(part).eval()


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators for what the network draws itself (dropout), as the step and the process decide it."""
    (mixed,) = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed))
