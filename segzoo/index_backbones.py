"""Where training starts: the weights of ``model_index/backbones.yaml``, ImageNet's for the most part."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segzoo.errors import UnknownNameError
from segzoo.index import ModuleSpec, Weights, index_directory
from segzoo.index_schema import read_backbones

__all__ = ["BackboneWeights", "backbones", "find_backbone"]


@dataclass(frozen=True)
class BackboneWeights:
    """A backbone's weights from before segmentation.

    ``backbone``: the network they are for. ``weights``: where they lie; None where no address is known, which ``note``
    then explains. ``fresh``: shell patterns of the tensors that the file may lack and that then start at random.
    """

    name: str
    backbone: ModuleSpec
    weights: Weights | None = None
    fresh: tuple[str, ...] = ()
    note: str | None = None


@functools.cache
def backbones(path: Path | None = None) -> Mapping[str, BackboneWeights]:
    """Every starting point by its name; of segzoo's own index, unless another file is given.

    Raises:
        IndexSchemaError: the file is malformed; names the entry and the field.
    """
    rows = read_backbones(path or index_directory() / "backbones.yaml")
    return {name: BackboneWeights(name, *row) for name, row in rows.items()}


def find_backbone(name: str) -> BackboneWeights:
    """The starting point of that name.

    Raises:
        UnknownNameError: there is none; the message lists close names.
    """
    known = backbones()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=5) or sorted(known)
        raise UnknownNameError(f"no backbone weights are named {name!r}; there are {', '.join(close)}")
    return known[name]
