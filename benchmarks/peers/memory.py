"""Resident memory of this process (Linux)."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

__all__ = ["peak", "resident", "restart"]


def _field(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def resident() -> int:
    """Bytes of memory that are resident now."""
    return _field("VmRSS")


def peak() -> int:
    """The most that was resident, in bytes, since :func:`restart` or the start of the process."""
    return _field("VmHWM")


def restart() -> int:
    """Give freed memory back to the system, let the peak start anew, and return what is resident."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what lies free in the heap would hide a later call's use of it
    Path("/proc/self/clear_refs").write_text("5")
    return resident()
