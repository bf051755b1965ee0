"""Sizes for people."""

from __future__ import annotations

__all__ = ["human_size"]


def human_size(count: float) -> str:
    """A number of bytes in decimal units with three digits or so: ``512 B``, ``1.4 MB``, ``263 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
