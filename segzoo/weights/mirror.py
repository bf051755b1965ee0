"""A mirror of published weights: files under their published paths, safetensors beside them, a manifest of hashes."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from segzoo.errors import OptionError, SegzooError
from segzoo.index import Entry
from segzoo.weights import sources
from segzoo.weights.conversion import convert
from segzoo.weights.expected import Expected
from segzoo.weights.fetching import receive
from segzoo.weights.hashing import file_sha256
from segzoo.weights.lock import Lock
from segzoo.weights.transport import Patience

__all__ = ["MANIFEST", "Mirrored", "mirror", "read_manifest"]

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Mirrored:
    """A file of a mirror: its path in it, hashes and sizes (bytes) of the file and of its safetensors form."""

    path: str
    entry: str
    source: str
    sha256: str
    size: int
    safetensors_sha256: str
    safetensors_size: int


def mirror(entries: Sequence[Entry], directory: Path, *, progress: bool = True) -> Iterator[Mirrored | SegzooError]:
    """Bring a mirror up to date: what the manifest has and the directory holds is left alone, so it can be resumed.

    Args:
        entries: whose weights; those without a public address are left out.
        directory: made if need be.
        progress: shows a bar per file on a terminal.

    Yields:
        For each entry its files, or the error that kept it out; the manifest is written after each.

    Raises:
        OSError: the directory cannot be written.
        OptionError: the manifest that is there is not one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        address = next((a for a in entry.weights.addresses if sources.published_path(a)), None)
        if address is None:
            continue
        try:
            item = _mirror_one(entry, address, directory, progress=progress)
        except SegzooError as error:
            yield error
            continue
        with Lock(directory / f"{MANIFEST}.lock", lambda: False):
            files = {**read_manifest(directory / MANIFEST), item.path: item}
            content = {"format": 1, "files": [asdict(files[path]) for path in sorted(files)]}
            temporary = directory / f"{MANIFEST}.{uuid.uuid4().hex[:12]}.tmp"
            temporary.write_text(json.dumps(content, indent=1) + "\n")
            os.replace(temporary, directory / MANIFEST)
        yield item


def read_manifest(path: Path) -> dict[str, Mirrored]:
    """The files of a mirror by path, from its manifest; empty where there is none yet.

    Raises:
        OptionError: there is one, and it is malformed.
    """
    try:
        content = json.loads(path.read_text())
        return {item["path"]: Mirrored(**item) for item in content["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{path} is not a segzoo mirror's manifest: {error}") from error


def _mirror_one(entry: Entry, address: str, directory: Path, *, progress: bool) -> Mirrored:
    path = PurePosixPath(sources.published_path(address) or "")
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise OptionError(f"{entry.name}: the path of {address} would lead out of the mirror")
    target = directory / path
    safetensors = target.with_suffix(".safetensors")
    known = read_manifest(directory / MANIFEST).get(str(path))
    if known and _has_size(target, known.size) and _has_size(safetensors, known.safetensors_size):
        return known
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = entry.weights
    expected = Expected(path.name, weights.sha256, weights.sha256_prefix, weights.size, identity=address)
    started = time.monotonic()
    with Lock(target.parent / f"{expected.key}.lock", lambda: time.monotonic() - started > 3600) as lock:
        sha256 = file_sha256(target) if target.is_file() else ""
        if not sha256 or not expected.fits(sha256) or (known and known.sha256 != sha256):
            got = receive(
                tuple(sources.candidates(weights.addresses)),
                expected,
                target.parent,
                name=entry.name,
                resume=lock.held,
                progress=progress,
                patience=Patience.from_environment(),
                by_hand=target,
            )
            os.replace(got.file, target)
            sha256 = got.sha256
        copy_sha256 = sha256
        if target != safetensors:
            _, copy_sha256 = convert(target, safetensors, entry=entry, address=address)
    return Mirrored(
        path=str(path),
        entry=entry.name,
        source=address,
        sha256=sha256,
        size=target.stat().st_size,
        safetensors_sha256=copy_sha256,
        safetensors_size=safetensors.stat().st_size,
    )


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
