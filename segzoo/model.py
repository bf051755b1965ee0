"""The public model: a network by name, with its weights, that takes pictures."""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segzoo import weights as hub
from segzoo.build import BACKBONES, Labels, build, component, component_class, labels_of
from segzoo.errors import OptionError
from segzoo.index import Entry, ModuleSpec, find
from segzoo.index_backbones import backbones
from segzoo.inference.optimized import optimize
from segzoo.inference.predictor import predict
from segzoo.segmentor import Segmentor
from segzoo.weights.huggingface import push_to_hub, save_pretrained

__all__ = ["Model", "create_backbone", "is_saved_model", "load"]

_log = logging.getLogger("segzoo")


class Model(Segmentor):
    """A segmentation network that takes pictures and goes to and from files; what :func:`load` returns."""

    predict = predict
    optimize = optimize
    save_pretrained = save_pretrained
    push_to_hub = push_to_hub


@dataclass(frozen=True)
class _Source:
    """A weight file and what it was made for."""

    entry: Entry
    path: Path
    address: str
    labels: Labels | None  # None: what the file says, else the entry's


def load(
    name: str,
    *,
    pretrained: bool = True,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    auxiliary: bool = False,
    device: torch.device | str | None = None,
) -> Model:
    """A model by any of its names, in evaluation mode.

    Args:
        name: canonical, short or published name, or the weight file's; or what ``model.save_pretrained`` wrote: a
            directory, or ``hf://organisation/name``, with ``@revision`` as needed.
        pretrained: loads the entry's published weights, downloading them into the cache if need be. Every tensor
            comes from the file, or an error is raised; there is no fall-back to random weights.
        weights: other weights for the same architecture instead: a local ``.pth`` or ``.safetensors`` file, or an
            ``https://`` or ``hf://org/repo/file`` address; loaded whether or not ``pretrained`` is set. A file that
            ``segzoo train`` wrote brings its own classes.
        num_classes: another number of classes. The tensors whose shape depends on it are initialised afresh where the
            file's have another shape, named in a log line and in ``model.reinitialised``; all others are loaded.
        auxiliary: builds and loads the auxiliary heads too, which only training uses.
        device: where the model is put (default: the CPU).

    Raises:
        UnknownNameError, AmbiguousNameError: the name means no entry, or several.
        DownloadError, OfflineError, HashMismatchError: the weight file could not be had, or is not the right one.
        CheckpointError, StateDictMismatchError: the file cannot be read safely, or its tensors are not the model's.
        OptionError: ``num_classes`` is not a positive number.
    """
    if is_saved_model(name):
        if weights is not None or not pretrained:
            raise OptionError(f"{name!r} is a saved model with its own weights; leave weights and pretrained out")
        saved = hub.open_pretrained(name)
        source = _Source(saved.entry, saved.weights, name, Labels(saved.classes, saved.palette))
        return _load(source, num_classes, auxiliary, device)
    entry = find(name)
    labels = labels_of(entry, entry.num_classes)
    if weights is not None:
        path = hub.fetch_address(str(weights))
        return _load(_Source(entry, path, str(weights), None), num_classes, auxiliary, device)
    if pretrained:
        path = hub.fetch(entry.weights, name=entry.name)
        return _load(_Source(entry, path, entry.weights.addresses[0], labels), num_classes, auxiliary, device)
    chosen = labels if num_classes is None else labels_of(entry, num_classes)
    return build(entry, model_class=Model, labels=chosen, auxiliary=auxiliary, device=device).eval()


def is_saved_model(name: object) -> bool:
    """Whether ``name`` is that of a saved model (a directory, an ``hf://`` repository) and not of an entry."""
    if not isinstance(name, str):
        return False
    return (
        name.startswith("hf://") or any(mark in name for mark in ("/", os.sep)) or Path(name, "config.json").is_file()
    )


def _load(source: _Source, num_classes: int | None, auxiliary: bool, device: torch.device | str | None) -> Model:
    checkpoint = hub.read(source.path)
    tensors: Mapping[str, Tensor] = checkpoint.tensors
    made_for = source.labels or _labels_in(checkpoint.meta, source.entry)
    fresh: tuple[str, ...] = ()
    if num_classes is None or num_classes == len(made_for.classes):
        # On the meta device nothing is initialised in vain: every tensor comes from the file.
        model = build(source.entry, model_class=Model, labels=made_for, auxiliary=auxiliary, device="meta")
    else:
        labels = labels_of(source.entry, num_classes)
        model = build(source.entry, model_class=Model, labels=labels, auxiliary=auxiliary)
        state = model.state_dict()
        varying = _class_dependent(source.entry, made_for, state, auxiliary)
        fresh = tuple(key for key in varying if key not in tensors or tensors[key].shape != state[key].shape)
        tensors = {**tensors, **{key: state[key] for key in fresh}}
        if fresh:
            _log.warning("%s: initialised afresh for %d classes: %s", source.entry.name, num_classes, ", ".join(fresh))
    dropped = () if auxiliary else ("auxiliary_head.",)
    hub.load_into(model, tensors, dropped_prefixes=dropped, source=source.address)
    model.reinitialised = fresh
    return model.to(device or "cpu").eval()


def _labels_in(meta: Mapping[str, Any], entry: Entry) -> Labels:
    """The classes that a file of segzoo's names in its header, as texts of JSON; the entry's where there are none."""
    own = labels_of(entry, entry.num_classes)
    try:
        names, palette = (json.loads(meta.get(key, "null")) for key in ("classes", "palette"))
    except (TypeError, ValueError):
        return own
    if not isinstance(names, list) or not names or tuple(names) == entry.classes:
        return own
    sound = isinstance(palette, list) and all(isinstance(colour, list) and len(colour) == 3 for colour in palette)
    if not sound or len(palette) != len(names):
        palette = labels_of(entry, len(names)).palette
    return Labels(tuple(map(str, names)), tuple((red, green, blue) for red, green, blue in palette))


def _class_dependent(entry: Entry, labels: Labels, state: Mapping[str, Tensor], auxiliary: bool) -> tuple[str, ...]:
    """Keys of ``state`` whose shape differs from that in the network for ``labels``."""
    other = build(entry, model_class=Segmentor, labels=labels, auxiliary=auxiliary, device="meta").state_dict()
    return tuple(key for key, tensor in state.items() if other[key].shape != tensor.shape)


def create_backbone(name: str, *, pretrained: bool = False, out_indices: Sequence[int] | None = None) -> nn.Module:
    """The backbone of a model, by any of the model's names; or one from before segmentation, by its own name.

    Returns:
        A module that maps float (N, 3, H, W) to a list of features; ``.channels`` and ``.strides`` say what each
        is. In training mode, as a fresh module is.

    Args:
        name: any name of a model; or of the weights that recipes start from (``'resnet50_v1c'``: the keys of
            ``model_index/backbones.yaml``).
        pretrained: takes the tensors from the model's published weights; with the name of a starting point, from
            its own, where tensors that the file lacks by nature stay random and are named in a log line.
        out_indices: which stages' features to return, where the architecture has that choice.

    Raises:
        OptionError: the backbone has no ``out_indices``, or not those.
        and the errors of :func:`load`.
    """
    start = backbones().get(name) if isinstance(name, str) else None
    if start is not None:
        backbone = component(BACKBONES, _with_out_indices(start.backbone, out_indices))
        if pretrained:
            hub.start_backbone(backbone, start.name)
        return backbone
    entry = find(name)
    spec = _with_out_indices(entry.architecture.backbone, out_indices)
    if not pretrained:
        return component(BACKBONES, spec)
    path = hub.fetch(entry.weights, name=entry.name)
    prefix = "backbone."
    tensors = {k.removeprefix(prefix): v for k, v in hub.read(path).tensors.items() if k.startswith(prefix)}
    with torch.device("meta"):
        backbone = component(BACKBONES, spec)
    hub.load_into(backbone, tensors, source=entry.weights.addresses[0])
    return backbone


def _with_out_indices(spec: ModuleSpec, out_indices: Sequence[int] | None) -> ModuleSpec:
    if out_indices is None:
        return spec
    if "out_indices" not in inspect.signature(component_class(BACKBONES, spec)).parameters:
        raise OptionError(f"{spec.type} returns a fixed list of features; leave out_indices out")
    return ModuleSpec(spec.type, {**spec.arguments, "out_indices": tuple(out_indices)})
