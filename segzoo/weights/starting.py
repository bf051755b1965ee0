"""Backbone weights from before segmentation, into a backbone that training starts from."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segzoo.backbones.vit import resize_positions
from segzoo.errors import DownloadError, StateDictMismatchError
from segzoo.index_backbones import BackboneWeights, find_backbone
from segzoo.weights.checkpoint import read
from segzoo.weights.fetching import fetch, fetch_address
from segzoo.weights.loading import load_into

__all__ = ["Start", "load_start", "start_backbone"]

_log = logging.getLogger("segzoo")
_SHOWN = 8
# timm's names of a vision transformer's parts, and the published ones.
_TIMM: tuple[tuple[str, str], ...] = (
    (r"^blocks\.", "layers."),
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^(layers\.\d+)\.norm(\d)\.", r"\1.ln\2."),
    (r"^norm\.", "ln1."),
    (r"\.mlp\.fc1\.", ".ffn.layers.0.0."),
    (r"\.mlp\.fc2\.", ".ffn.layers.1."),
)
_TIMM_ATTENTION = ((r"\.attn\.qkv\.", ".attn.attn.in_proj_"), (r"\.attn\.proj\.", ".attn.attn.out_proj."))


@dataclass(frozen=True)
class Start:
    """What loading did: names of tensors, as the backbone and the file have them.

    ``fresh``: of the backbone, not in the file; they keep their values. ``resized``: tables of positions that were
    interpolated. ``unused``: of the file, unknown to the backbone (a classifier).
    """

    name: str
    fresh: tuple[str, ...]
    resized: tuple[str, ...]
    unused: tuple[str, ...]


def start_backbone(backbone: nn.Module, name: str, *, weights: str | Path | None = None) -> Start:
    """Load a starting point into a backbone, downloading it into the cache if need be, and log what was not used.

    Args:
        backbone: a model's backbone, its parameters anywhere but on the ``meta`` device.
        name: a key of ``model_index/backbones.yaml``, as a recipe's ``backbone_weights``.
        weights: a file or address to take instead of the published one, in the same form.

    Raises:
        UnknownNameError: no starting point has that name.
        DownloadError: no address of it is known, or none gave the file.
        CheckpointError: the file cannot be read safely.
        StateDictMismatchError: a tensor of the backbone is not in the file, or has another shape there.
    """
    about = find_backbone(name)
    if weights is not None:
        path = fetch_address(str(weights))
    elif about.weights is None:
        raise DownloadError(f"{name}: no address is known. {about.note} Give a file of yours instead, if you have it.")
    else:
        path = fetch(about.weights, name=name)
    start = load_start(backbone, read(path).tensors, about, source=str(path))
    for what, names in (("starts at random", start.fresh), ("was resized", start.resized), ("unused", start.unused)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            _log.warning("%s: %s: %s%s", name, what, ", ".join(names[:_SHOWN]), more)
    return start


def load_start(backbone: nn.Module, tensors: Mapping[str, Tensor], about: BackboneWeights, *, source: str) -> Start:
    """Load tensors into a backbone, in the form in which they were published.

    Names may begin with ``module.`` or ``backbone.``, and a vision transformer's may be timm's. Tables of positions
    are interpolated to the backbone's grid.

    Args:
        backbone: whose attribute ``pretrained_part``, where it has one, names the part that is loaded.
        tensors: of the file; they are copied.
        about: what the file may lack.
        source: what messages call the file.

    Raises:
        StateDictMismatchError: as :func:`start_backbone`; nothing has been loaded.
    """
    part = backbone.get_submodule(getattr(backbone, "pretrained_part", ""))
    state = part.state_dict()
    found = _published_names(tensors, state)
    resized = []
    if "pos_embed" in found and "pos_embed" in state and found["pos_embed"].shape != state["pos_embed"].shape:
        found["pos_embed"] = _resized_table(part, found["pos_embed"], state["pos_embed"], source)
        resized.append("pos_embed")
    lacking = [name for name in state if name not in found and not _made_by_itself(name)]
    fresh = [name for name in lacking if any(fnmatch.fnmatchcase(name, pattern) for pattern in about.fresh)]
    used = {name: value.clone() for name, value in found.items() if name in state}
    kept = {name: value for name, value in state.items() if name in fresh or (name not in used and name not in lacking)}
    if not used:
        raise StateDictMismatchError(f"{source} holds nothing that the backbone has; is it one for {about.name}?")
    load_into(part, {**kept, **used}, source=source)
    unused = [name for name in found if name not in state]
    return Start(about.name, tuple(fresh), tuple(resized), tuple(unused))


def _made_by_itself(name: str) -> bool:
    """Whether a buffer is counted or computed, so that a file without it lacks nothing."""
    return name.endswith(("num_batches_tracked", "relative_position_index"))


def _published_names(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name.removeprefix("module."): value for name, value in tensors.items()}
    if any(name.startswith("backbone.") for name in found):
        found = {name.removeprefix("backbone."): value for name, value in found.items() if name.startswith("backbone.")}
    if not any(name.startswith("blocks.") for name in found) or any(name.startswith("blocks.") for name in state):
        return found
    rules = _TIMM
    if any(".attn.attn." in name for name in state):
        rules += _TIMM_ATTENTION
    renamed = {}
    for name, value in found.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _resized_table(part: nn.Module, table: Tensor, wanted: Tensor, source: str) -> Tensor:
    """The file's table of positions, for a square of patches and a class token, on the backbone's grid."""
    side = int((table.shape[1] - 1) ** 0.5) if table.ndim == 3 else 0
    grid = getattr(part, "grid", None)
    if grid is None or side * side + 1 != table.shape[1] or table.shape[2] != wanted.shape[2]:
        raise StateDictMismatchError(
            f"{source}: pos_embed has the shape {tuple(table.shape)}, which cannot become {tuple(wanted.shape)}"
        )
    with torch.no_grad():
        return resize_positions(table.float(), (side, side), grid, getattr(part, "interpolate_mode", "bicubic"))
