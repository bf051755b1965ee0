"""What a figure depends on besides the code: commit, versions, device, threads and the machine's hardware.

Importing this imports no torch; what torch knows is asked only where it is loaded already, or a GPU is meant.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["environment", "now"]

_PACKAGES = ("torch", "numpy", "pillow")


def now() -> str:
    """The time in UTC, ISO 8601, to the second: ``2026-11-20T09:48:02Z``."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment(device: str | None = None) -> dict[str, Any]:
    """Where and when a figure is taken, as a record's ``environment``.

    ``commit`` is None outside a git checkout, and ``modified`` says whether its files differ from the commit.
    ``threads`` are torch's, None where torch is not loaded. ``hardware.memory_gb`` is in 2**30 bytes.

    Args:
        device: what the work runs on, such as ``'cpu'`` (default) or ``'cuda:1'``.
    """
    device = str(device or "cpu")
    torch = sys.modules.get("torch")
    versions = {"segzoo": _segzoo_version(), "python": platform.python_version()}
    versions |= {name: version for name in _PACKAGES if (version := _version(name))}
    record = {
        "time": now(),
        **_commit(Path(__file__).resolve().parent.parent),
        "versions": versions,
        "device": device,
        "device_name": _processor(),
        "threads": torch.get_num_threads() if torch else None,
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": _memory_gb(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "load_average": _load_average(),
    }
    if device.startswith("cuda"):
        record |= _cuda(device, versions)
    return record


def _segzoo_version() -> str:
    from segzoo import __version__

    return __version__


def _version(package: str) -> str | None:
    loaded = getattr(sys.modules.get(package), "__version__", None)  # tells the build too: 2.6.0+cpu
    if loaded:
        return str(loaded)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> dict[str, Any]:
    """The checkout's commit; None for an installed package, whatever repository it may lie in."""
    if not (root / ".git").exists():
        return {"commit": None, "modified": None}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "modified": None}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def _cuda(device: str, versions: dict[str, str]) -> dict[str, Any]:
    import torch

    index = torch.device(device).index
    about = torch.cuda.get_device_properties(torch.cuda.current_device() if index is None else index)
    return {
        "device_name": about.name,
        "device_memory_gb": round(about.total_memory / 2**30, 1),
        "versions": {
            **versions,
            "cuda": torch.version.cuda or "none",
            "cudnn": str(torch.backends.cudnn.version()),
        },
    }


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_gb() -> float | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) / 2**20, 1)
    return None


def _load_average() -> list[float] | None:
    return [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
