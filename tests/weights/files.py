"""Weight files as they are found in the world, written here."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def small_state() -> dict[str, Tensor]:
    return OrderedDict(small_model().state_dict())


@contextmanager
def mmengine_installed() -> Iterator[type]:
    """A HistoryBuffer that pickles as mmengine's does: numpy logs, and its own methods by getattr."""
    import numpy

    class HistoryBuffer:
        def __init__(self) -> None:
            self.max_length = 1000
            self._log_history = numpy.array([0.5, 0.25], dtype=numpy.float64)
            self._count_history = numpy.array([1, 2], dtype=numpy.int64)
            self.statistics_methods = {"min": HistoryBuffer.min}

        def min(self) -> float:
            return 0.0

    modules = ["mmengine", "mmengine.logging", "mmengine.logging.history_buffer"]
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = modules[-1], "HistoryBuffer"
    HistoryBuffer.min.__module__, HistoryBuffer.min.__qualname__ = modules[-1], "HistoryBuffer.min"
    for name in modules:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[modules[-1]].HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    try:
        yield HistoryBuffer
    finally:
        for name in modules:
            del sys.modules[name]


def archive(path: Path, pickled: bytes, members: dict[str, bytes] | None = None, *, method: int = 0) -> Path:
    """A zip as torch.save lays it out, around any pickle."""
    everything = {"archive/data.pkl": pickled, "archive/version": b"3\n", "archive/byteorder": b"little"}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in {**everything, **(members or {})}.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return path


def legacy(path: Path, pickled: bytes) -> Path:
    """The older format: magic number, protocol, system, the object, and an empty list of storages."""
    stream = io.BytesIO()
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for header in (0x1950A86A20F9469CFC6C, 1001, system):
        pickle.dump(header, stream, protocol=2)
    stream.write(pickled)
    pickle.dump([], stream, protocol=2)
    path.write_bytes(stream.getvalue())
    return path


def pickled_call(function: str, *arguments: Any) -> bytes:
    """A pickle that calls ``module function`` when it is loaded, the way every attack on torch.load does."""
    body = pickle.dumps(arguments, protocol=2)[2:-1]
    return b"\x80\x02c" + function.replace(" ", "\n").encode() + b"\n" + body + b"R."


def safetensors_bytes(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    import json

    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
