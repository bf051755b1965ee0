"""Networks as files for other runtimes: ONNX, and torch's own exported programs.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.export.checking import Agreement, check
    from segzoo.export.exporting import Exported, export

__all__ = ["Agreement", "Exported", "check", "export"]

_HOME = {"Agreement": "checking", "Exported": "exporting", "check": "checking", "export": "exporting"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
