"""segzoo: semantic-segmentation models with their published weights, by name.

model = segzoo.load("fastfcn_r50_jpu_psp_cityscapes")
model.predict("street.jpg").save("street.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.errors import SegzooError
    from segzoo.index import Entry, info, list_models
    from segzoo.inference import Segmentation
    from segzoo.model import Model, create_backbone, load
    from segzoo.segmentor import Segmentor

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "Model",
    "Segmentation",
    "Segmentor",
    "SegzooError",
    "create_backbone",
    "info",
    "list_models",
    "load",
]

# Where each public name is defined. A module is imported when its name is first used, so that listing models does
# not wait for torch.
_HOMES = {
    "Entry": "segzoo.index",
    "Model": "segzoo.model",
    "Segmentation": "segzoo.inference",
    "Segmentor": "segzoo.segmentor",
    "SegzooError": "segzoo.errors",
    "create_backbone": "segzoo.model",
    "info": "segzoo.index",
    "list_models": "segzoo.index",
    "load": "segzoo.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segzoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
