"""The weight hub: fetching, caching, checking, reading, converting and sharing weight files.

Names are imported when first used: fetching a file needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.weights.checkpoint import Checkpoint, read
    from segzoo.weights.conversion import convert, write_safetensors
    from segzoo.weights.fetching import fetch, fetch_address
    from segzoo.weights.huggingface import Pretrained, open_pretrained, push_to_hub, save_pretrained
    from segzoo.weights.loading import load_into

_HOMES = {
    "Checkpoint": "checkpoint",
    "Pretrained": "huggingface",
    "fetch": "fetching",
    "fetch_address": "fetching",
    "load_into": "loading",
    "open_pretrained": "huggingface",
    "push_to_hub": "huggingface",
    "read": "checkpoint",
    "save_pretrained": "huggingface",
    "write_safetensors": "conversion",
    "convert": "conversion",
}

__all__ = [
    "Checkpoint",
    "Pretrained",
    "convert",
    "fetch",
    "fetch_address",
    "load_into",
    "open_pretrained",
    "push_to_hub",
    "read",
    "save_pretrained",
    "write_safetensors",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
