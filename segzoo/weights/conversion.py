"""Weight files as safetensors: written deterministically, with what a person needs to know in the header."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from segzoo.errors import CheckpointError
from segzoo.index import Entry
from segzoo.weights.checkpoint import Checkpoint, read_file
from segzoo.weights.hashing import file_sha256
from segzoo.weights.store import Store

__all__ = ["convert", "describe_file", "keep_copy", "write_safetensors"]

_LOG = logging.getLogger(__name__)
_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_ALIGNMENT = 64


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file and return its sha256; the same tensors and metadata always give the same bytes.

    The file is written under a temporary name, brought to the disk and renamed.

    Args:
        path: where to.
        tensors: any device and layout; two names of one tensor are written twice.
        metadata: texts for the header.

    Raises:
        CheckpointError: a tensor is of a type that the format does not have.
        OSError: the disk refuses.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as file:
            sha256 = _write(file, tensors, metadata)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return sha256


def _write(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES or tensor.layout is not torch.strided:
            raise CheckpointError(f"{name} is {tensor.dtype}, {tensor.layout}: safetensors has no such type")
    # Large elements first, so that every tensor lies at a multiple of its element's size.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name in order:
        size = tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _CODES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    digest = hashlib.sha256()

    def put(data: Any) -> None:
        digest.update(data)
        file.write(data)

    put(len(text).to_bytes(8, "little") + text)
    for name in order:
        flat = tensors[name].detach().to("cpu").contiguous().reshape(-1)
        if flat.numel():
            put(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_file(
    checkpoint: Checkpoint, *, entry: Entry | None, address: str = "", source_sha256: str = ""
) -> dict[str, str]:
    """The header's texts: format, entry and classes, where the file came from, and what the published file said."""
    metadata = {"format": "pt"}
    if entry is not None:
        metadata["entry"] = entry.name
        metadata["classes"] = json.dumps(entry.classes)
    if address:
        metadata["source"] = address
    if source_sha256:
        metadata["source_sha256"] = source_sha256
    if checkpoint.meta:
        metadata["meta"] = json.dumps(checkpoint.meta, sort_keys=True)
    return metadata


def convert(
    source: Path, target: Path | None = None, *, entry: Entry | None = None, address: str = ""
) -> tuple[Path, str]:
    """Write a .pth as safetensors.

    Args:
        source: the .pth.
        target: the file to write; beside the source by default.
        entry: the index entry whose weights these are.
        address: where the source was published.

    Returns:
        The file and its sha256.

    Raises:
        CheckpointError: the source cannot be read safely.
        OSError: the disk refuses.
    """
    target = source.with_suffix(".safetensors") if target is None else target
    checkpoint = read_file(source)
    if target.exists() and target.samefile(source):
        raise CheckpointError(f"{source} is safetensors already")
    metadata = describe_file(checkpoint, entry=entry, address=address, source_sha256=file_sha256(source))
    return target, write_safetensors(target, checkpoint.tensors, metadata)


def keep_copy(path: Path, checkpoint: Checkpoint) -> Path | None:
    """Keep a cached .pth as safetensors too; None, and no error, where it is no cached file or there is no room."""
    store = Store(path.parent)
    target = store.copy_path(path)
    record = store.record(path)
    if target is None or record is None or target.exists():
        return None
    if shutil.disk_usage(path.parent).free < 2 * record.size:
        return None
    temporary = store.temporary(path.stem)
    metadata = describe_file(checkpoint, entry=None, address=record.address, source_sha256=record.sha256)
    if record.name:
        metadata["entry"] = record.name
    try:
        sha256 = write_safetensors(temporary, checkpoint.tensors, metadata)
        return store.publish_copy(temporary, path, sha256)
    except (OSError, CheckpointError) as error:
        _LOG.info("%s is not kept as safetensors: %s", path, error)
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
