"""torch.hub: every model of the index, under each of its names.

    torch.hub.load('org/segzoo', 'fastfcn_r50_jpu_psp_cityscapes', trust_repo=True)

The names are not written here: they come from the index when torch.hub asks for them, and a model is built
only when its entry point is called. The one module that this file takes from its folder is ``segzoo``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

# At the top, not where they are used: torch.hub.list asks for names when this folder has left sys.path.
from segzoo.describe import size_text
from segzoo.errors import UnknownNameError
from segzoo.index import Entry, dataset, default_index, find

if TYPE_CHECKING:
    import torch

    from segzoo.model import Model

# Names of modules, which torch.hub looks for before it loads a model.
dependencies = ["torch", "numpy", "PIL", "requests", "safetensors", "tqdm", "yaml"]


def _describe(name: str, entry: Entry) -> str:
    """The docstring of an entry point, from the index alone."""
    data = dataset(entry.dataset)
    trained = size_text(entry.crop_size) or "an unknown size"
    schedule = f" for {entry.iterations} iterations" if entry.iterations else ""
    figures = ", ".join(f"{metric} {value:g}" for metric, value in entry.reported.metrics.items())
    return f"""{entry.method}, backbone {entry.backbone}, for {data.title} ({entry.num_classes} classes).

    Trained on crops of {trained}{schedule}. Published: {figures or "no figures"}.
    Canonical name: {entry.name}
    Paper: {entry.paper.title}, {entry.paper.url}

    Args:
        pretrained: load the published weights; all of their tensors, or an error.
        weights: a .pth or .safetensors file, or an https:// or hf:// address, loaded instead of the published.
        num_classes: another number of classes; the classifiers are then initialised anew.
        auxiliary: keep the auxiliary heads that training uses.
        device: where the model is put.

    Returns:
        The model in eval mode: float (N, 3, H, W), normalised, to logits (N, {entry.num_classes}, H, W);
        ``model.predict(image)`` takes a picture.

    Example:
        torch.hub.load('org/segzoo', '{name}', trust_repo=True)
    """


def _entry_point(name: str, entry: Entry) -> Callable[..., Model]:
    def load(
        pretrained: bool = True,
        *,
        weights: str | Path | None = None,
        num_classes: int | None = None,
        auxiliary: bool = False,
        device: str | torch.device | None = None,
    ) -> Model:
        import segzoo

        return segzoo.load(
            entry.name,
            pretrained=pretrained,
            weights=weights,
            num_classes=num_classes,
            auxiliary=auxiliary,
            device=device,
        )

    load.__name__ = load.__qualname__ = name
    load.__doc__ = _describe(name, entry)
    return load


def __dir__() -> list[str]:
    # Without its modules segzoo cannot read the index; torch.hub then says which one is missing.
    if any(importlib.util.find_spec(module) is None for module in dependencies):
        return ["dependencies"]
    names = {name for entry in default_index().entries.values() for name in entry.names}
    return ["dependencies", *sorted(names)]


def __getattr__(name: str) -> Callable[..., Model]:
    if name.startswith("__"):  # what the import system asks of a module
        raise AttributeError(name)
    try:
        return _entry_point(name, find(name))
    except UnknownNameError as error:
        raise AttributeError(str(error)) from error
