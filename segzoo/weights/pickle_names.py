"""Which functions and classes a pickle asks for, read without running it."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from segzoo.weights.stand_ins import STAND_INS

__all__ = ["refused_names"]

# A legacy file is five pickles in a row (the state is the fourth), then raw numbers.
_PICKLES = 5
_MOST_BYTES = 1 << 26

_TENSORS = re.compile(
    r"torch\.(\w*Storage|Size|Tensor|device|u?int\d+|q?u?int\d+(x\d+)?|b?float\w*|half|double|short|long|int|bool"
    r"|complex\w*|storage\.\w*Storage|nn\.parameter\.Parameter|serialization\._get_layout"
    r"|_utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|device_tensor_from_\w+)"
    r"|_tensor\._rebuild_from_type_v2)"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|complex|bytearray)"
)


def refused_names(path: Path) -> set[str]:
    """What a .pth asks for beyond tensors, containers and the stand-ins; empty also where it cannot be read at all."""
    allowed = {name for _, name in STAND_INS}
    return {name for name in _asked_for(_pickled(path)) if name not in allowed and not _TENSORS.fullmatch(name)}


def _pickled(path: Path) -> bytes:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                member = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                return archive.read(member)
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except (OSError, StopIteration, zipfile.BadZipFile):
        return b""


def _asked_for(data: bytes) -> Iterator[str]:
    stream = io.BytesIO(data)
    texts: list[str] = []
    try:
        for _ in range(_PICKLES):
            for opcode, argument, _position in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    yield _today(*str(argument).split(" ", 1))
                elif opcode.name == "STACK_GLOBAL":
                    yield _today(*texts[-2:]) if len(texts) > 1 else "a computed name"
                elif isinstance(argument, str):
                    texts.append(argument)
    except ValueError:
        return  # cut off, or not a pickle: torch's reader says so


def _today(module: str, name: str) -> str:
    return f"{'builtins' if module == '__builtin__' else module}.{name}"
