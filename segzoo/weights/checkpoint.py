"""Reading weight files: ``.pth`` (zip and legacy) without running what they ask for, ``.safetensors`` by mapping."""

from __future__ import annotations

import ctypes
import json
import mmap
import pickle
import struct
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segzoo.errors import CheckpointError
from segzoo.weights.pickle_names import refused_names
from segzoo.weights.stand_ins import STAND_INS, plain

__all__ = ["Checkpoint", "read", "read_file"]

# torch keeps its list of extra names in one place for the whole process.
_TORCH_LOAD = threading.Lock()
_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` by their published names; ``meta``: what else the file says of itself, as JSON could hold it."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def read(path: str | Path) -> Checkpoint:
    """Read a weight file; a .pth of the cache is kept as safetensors from then on.

    Args:
        path: ``.safetensors``, or anything that ``torch.save`` wrote: a state dict, with or without ``state_dict``
            and ``meta`` around it, with or without ``module.`` before each name.

    Returns:
        The tensors, on the CPU and in the file's own types. Those of a .safetensors file are mapped: pages
        are read when touched, and writing to them does not change the file.

    Raises:
        CheckpointError: there is no such file, it is damaged, asks for something other than tensors and plain
            data (by name; nothing of it is run), or holds no tensors.
    """
    path = Path(path)
    try:
        checkpoint = read_file(path)
    except CheckpointError as error:
        from segzoo.weights.store import Store

        # A cached file was whole once; if it no longer is, it must not be met again.
        if Store(path.parent).set_aside_if_damaged(path):
            raise CheckpointError(
                f"{error}\nThe cached file is damaged and was set aside; ask again to fetch it anew."
            ) from error
        raise
    if path.suffix != ".safetensors":
        from segzoo.weights.conversion import keep_copy

        keep_copy(path, checkpoint)
    return checkpoint


def read_file(path: Path) -> Checkpoint:
    """As :func:`read`, without keeping anything.

    Raises:
        CheckpointError: as :func:`read`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    size = path.stat().st_size
    if not head:
        raise CheckpointError(f"{path} is empty")
    if head.startswith(b"PK"):
        _check_archive(path, size)
        return _from_pickle(path, mapped=True)
    if _is_safetensors(head, size):
        return _from_safetensors(path)
    if head.startswith(b"\x80"):
        return _from_pickle(path, mapped=False)
    if head.lstrip().startswith(b"<"):
        raise CheckpointError(f"{path} is a web page, not a weight file; download it again")
    raise CheckpointError(f"{path} is neither a .pth nor a .safetensors file (it begins with {head!r})")


# safetensors


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] + 8 <= size


def _from_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    meta: dict[str, Any] = {name: text for name, text in metadata.items() if name != "meta"}
    try:
        inner = json.loads(metadata.get("meta", "{}"))
    except ValueError:
        inner = {}
    return Checkpoint(_named(tensors, path), {**meta, **inner} if isinstance(inner, dict) else meta)


# pickles


def _check_archive(path: Path, size: int) -> None:
    """What torch writes is stored, not deflated, under one folder; anything else could grow without bounds."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is damaged or cut off: {error}; download it again") from error
    names = [member.filename for member in members]
    for member in members:
        parts = member.filename.split("/")
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.file_size != member.compress_size
            or member.flag_bits & 1
        ):
            raise CheckpointError(
                f"{path} holds {member.filename!r} compressed or encrypted, which torch.save does not write"
            )
        if (
            len(parts) < 2
            or ".." in parts
            or "" in parts[:-1]
            or "\\" in member.filename
            or parts[0] != names[0].split("/")[0]
        ):
            raise CheckpointError(
                f"{path} holds a member with the path {member.filename!r}, which torch.save does not write"
            )
    if len(set(names)) != len(names) or sum(member.file_size for member in members) > size:
        raise CheckpointError(f"{path} holds members that repeat or overlap, which torch.save does not write")
    if f"{names[0].split('/')[0]}/data.pkl" not in names if names else True:
        raise CheckpointError(f"{path} is a zip archive but no weight file: it has no data.pkl")
    if any(name.split("/", 1)[1] in ("constants.pkl", "code/") or "/code/" in name for name in names):
        raise CheckpointError(f"{path} is a TorchScript program, not a weight file")


def _from_pickle(path: Path, *, mapped: bool) -> Checkpoint:
    # Before torch reads: its own list can be widened by whoever shares the process, this one cannot.
    if refused := refused_names(path):
        raise CheckpointError(
            f"{path} is refused: besides tensors it asks for {', '.join(sorted(refused))}, which could run anything. "
            "Nothing of it was run. If you trust where it comes from, load it with its own library and save its "
            "state_dict() alone."
        )
    try:
        with _TORCH_LOAD, torch.serialization.safe_globals(list(STAND_INS)):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except Exception as error:  # a hostile file can make torch's reader fail in any way
        raise CheckpointError(f"{path}: {_explain(error)}") from error
    state, meta = _unwrap(content, path)
    tensors = _named(state, path)
    if mapped:
        # A user's own file may be overwritten while the model is in use; one read makes the tensors independent.
        tensors = _detached(tensors)
    return Checkpoint(tensors, meta)


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors; those that are one tensor in the file stay one."""
    copies: dict[tuple[Any, ...], Tensor] = {}
    result = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        if key not in copies:
            copies[key] = tensor.detach().clone()
            _let_go(tensor)
        result[name] = copies[key]
    return result


def _let_go(tensor: Tensor) -> None:
    """Give the memory of a mapped tensor back, so that file and copy do not both take it; the file keeps the values."""
    if not hasattr(mmap, "MADV_DONTNEED") or not tensor.is_contiguous():
        return
    start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


def _explain(error: Exception) -> str:
    """Why torch's reader gave up, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, pickle.UnpicklingError) and lines:
        reason = next((line for line in lines if "Error:" in line or "Unsupported" in line), lines[0])
        return f"refused: it is more than tensors and plain data ({reason[:200]})"
    reason = lines[0][:200] if lines else type(error).__name__
    return f"damaged, cut off, or not a weight file ({reason}); download it again"


# both


def _unwrap(content: Any, path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state dict")
    for wrapper in _WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            meta = content.get("meta")
            return inner, plain(meta) if isinstance(meta, Mapping) else {}
    return content, {}


def _named(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors by name, without the ``module.`` that parallel training puts before every one."""
    strange = [str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if not state or len(strange) == len(state):
        raise CheckpointError(f"{path} holds no tensors, so it is no state dict")
    if strange:
        raise CheckpointError(f"{path} holds more than tensors: {', '.join(strange[:5])}; save the state dict alone")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {name.removeprefix(prefix): value.detach() for name, value in state.items()}
