"""Networks as files for other runtimes: ONNX, and torch's own exported programs.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segzoo.lazy import lazy_names

if TYPE_CHECKING:
    from segzoo.export.checking import Agreement, check
    from segzoo.export.exporting import Exported, export

__all__ = ["Agreement", "Exported", "check", "export"]

_HOME = {"Agreement": "checking", "Exported": "exporting", "check": "checking", "export": "exporting"}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
