"""The most memory that a piece of work held: what the allocator gave out on a GPU, what the process held on a CPU.

These are different things under different names: the resident set also holds Python, torch and its libraries.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

__all__ = ["peak", "reset"]

_STATUS = Path("/proc/self/status")


def reset(device: torch.device) -> None:
    """Begin anew on a GPU; a process's peak cannot be reset, so that on a CPU a fresh process has to do the work."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> tuple[str, int | None]:
    """(name of the measure, bytes); None where the system does not tell."""
    if device.type == "cuda":
        return "max_memory_allocated", torch.cuda.max_memory_allocated(device)
    return "peak_resident_set", _peak_resident_set()


def _peak_resident_set() -> int | None:
    # Linux's ru_maxrss also counts the process that this one was started from; the high-water mark does not.
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None  # Windows
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
