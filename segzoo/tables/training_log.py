"""Published training logs of OpenMMLab (``.log.json``): memory, seconds an iteration and validation as a record.

A log is JSON lines: the environment first, training lines (``mode`` ``train``: ``iter``, ``memory`` in MB, ``time`` in
seconds an iteration, averaged over the lines' interval), and validation lines (``mode`` ``val``: ``mIoU``, ``mAcc``,
``aAcc`` as fractions). A run that was resumed writes its environment again.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segzoo import records
from segzoo.errors import OptionError, SegzooError
from segzoo.index import Entry, default_index, find

__all__ = ["TrainingLogError", "entry_of", "read_training_log"]

_METRICS = ("mIoU", "mAcc", "aAcc", "mDice")


class TrainingLogError(SegzooError, ValueError):
    """A file is no OpenMMLab training log; names the file, and the line where there is one."""


def entry_of(path: Path) -> Entry:
    """The entry whose published log has that file name.

    Raises:
        OptionError: there is none.
    """
    for entry in default_index().entries.values():
        if (entry.reported.log or "").rpartition("/")[2] == path.name:
            return entry
    raise OptionError(f"{path.name}: no entry's published log has that name; say which entry it belongs to (--entry)")


def read_training_log(path: Path, entry: str | None = None) -> dict[str, Any]:
    """The record, of kind ``published_training``, of a training log.

    ``seconds_per_iteration`` is the median of the training lines, without the first after each start, in which
    data loading and cuDNN warm up; ``memory_mb`` the maximum; ``metrics`` are the last validation's in percent, with
    the iteration that it followed. What the log does not hold is null.

    Args:
        path: the log.
        entry: any name of its entry; default: the one whose published log has the file's name.

    Raises:
        TrainingLogError: the file cannot be read, or is no such log.
        OptionError: ``entry`` is not given and not to be told from the file's name.
    """
    owner = find(entry) if entry else entry_of(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingLogError(f"{path}: cannot be read ({error.strerror})") from error
    seconds: list[float] = []
    memory: list[float] = []
    iterations, metrics, warm = 0, {}, False
    for line in _lines(path, content):
        mode = line.get("mode")
        if mode == "train":
            iterations = int(_number(path, line, "iter") or 0)
            if (taken := _number(path, line, "time")) is not None and warm:
                seconds.append(taken)
            if (held := _number(path, line, "memory")) is not None:
                memory.append(held)
            warm = True
        elif mode == "val":
            metrics = {name: _percent(value) for name in _METRICS if (value := _number(path, line, name)) is not None}
            metrics["iteration"] = iterations
        else:
            warm = False  # the environment: training starts, or goes on after a stop
    if not iterations:
        raise TrainingLogError(f'{path}: holds no training line ("mode": "train"); is it an OpenMMLab .log.json?')
    figures = {
        "memory_mb": max(memory, default=None),
        "seconds_per_iteration": float(f"{statistics.median(seconds):.6g}") if seconds else None,
    }
    absent = {name: "not in the log" for name, value in figures.items() if value is None}
    return {
        "kind": "published_training",
        "entry": owner.name,
        "source": owner.reported.log or path.name,
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "iterations": iterations,
        **figures,
        "metrics": metrics,
        "imported": records.now(),
        **({"absent": absent} if absent else {}),
    }


def _lines(path: Path, content: bytes) -> Iterator[Mapping[str, Any]]:
    for number, text in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise TrainingLogError(f"{path}:{number}: not JSON ({error.msg})") from error
        if not isinstance(line, dict):
            raise TrainingLogError(f"{path}:{number}: expected a JSON object, found {type(line).__name__}")
        yield line


def _number(path: Path, line: Mapping[str, Any], name: str) -> float | None:
    """A figure of a line; None where it has none, NaN included."""
    value = line.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TrainingLogError(f"{path}: {name} is {value!r} in a line of mode {line.get('mode')}, not a number")
    return value if math.isfinite(value) else None


def _percent(value: float) -> float:
    """Published fractions as percentages; a few logs hold percentages already."""
    return round(value * 100 if value <= 1 else value, 4)
