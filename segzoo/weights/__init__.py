"""The weight hub: fetching, caching, checking, reading, converting and sharing weight files.

Names are imported when first used: fetching a file needs no torch.

Environment variables:
    SEGZOO_CACHE: the cache's directory (default: ``segzoo`` under ``TORCH_HOME``, or ``~/.cache/torch``).
    SEGZOO_MIRROR: prefixes tried before the published addresses (https, hf://, directories), comma-separated.
    SEGZOO_OFFLINE, HF_HUB_OFFLINE: 1 forbids the network.
    SEGZOO_TIMEOUT: seconds to wait for a server's next byte (default: 30).
    SEGZOO_ACCEPT_SHA256: full hashes accepted, once, in place of published digits; comma-separated.
    HF_ENDPOINT, HF_TOKEN, proxies and certificates: as huggingface_hub and requests take them.
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
    from segzoo.weights.starting import Start, start_backbone

_HOMES = {
    "Checkpoint": "checkpoint",
    "Pretrained": "huggingface",
    "Start": "starting",
    "fetch": "fetching",
    "fetch_address": "fetching",
    "load_into": "loading",
    "open_pretrained": "huggingface",
    "push_to_hub": "huggingface",
    "read": "checkpoint",
    "save_pretrained": "huggingface",
    "start_backbone": "starting",
    "write_safetensors": "conversion",
    "convert": "conversion",
}

__all__ = [
    "Checkpoint",
    "Pretrained",
    "Start",
    "convert",
    "fetch",
    "fetch_address",
    "load_into",
    "open_pretrained",
    "push_to_hub",
    "read",
    "save_pretrained",
    "start_backbone",
    "write_safetensors",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
