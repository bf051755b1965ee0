"""The cache: one flat directory of files whose names hold their sha256.

Beside ``NAME.SHA256.pth`` lies a record (``.json``) with its size, its time of change and where it came from. A file is
believed while size and time are those of the record; otherwise it is hashed again first. ``NAME.SHA256.safetensors``
is made from a .pth after its first use: the name holds the hash of the .pth, the record its own.
``NAME.PREFIX.pin`` holds the full hash that was found where only a prefix, or an address, was known.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from segzoo.weights.expected import Expected
from segzoo.weights.hashing import file_sha256

_PICKLES = (".pth", ".pt", ".bin", ".ckpt")

__all__ = ["Record", "Store", "Stored", "cache_directory", "torch_home"]

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"^(?P<stem>.+)\.(?P<key>[0-9a-f]{64})(?P<suffix>\.[A-Za-z][A-Za-z0-9]*)$")


def torch_home() -> Path:
    """``TORCH_HOME``, else ``torch`` under ``XDG_CACHE_HOME`` or ``~/.cache``: where PyTorch keeps its downloads."""
    if home := os.environ.get("TORCH_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch"


def cache_directory() -> Path:
    """``SEGZOO_CACHE``, else ``segzoo`` under :func:`torch_home`."""
    if chosen := os.environ.get("SEGZOO_CACHE"):
        return Path(chosen).expanduser()
    return torch_home() / "segzoo"


@dataclass(frozen=True)
class Record:
    """What is known of a cached file: its own hash, size in bytes, time of change in whole seconds, and its origin."""

    sha256: str
    size: int
    changed: int
    name: str = ""
    address: str = ""
    fetched: str = ""


@dataclass(frozen=True)
class Stored:
    """A cached file: ``key`` is the hash in its name, which a safetensors copy shares with the .pth it comes from."""

    path: Path
    key: str
    record: Record | None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size

    @property
    def is_copy(self) -> bool:
        """Whether this is the safetensors form of a .pth."""
        return self.record is not None and self.record.sha256 != self.key


class Store:
    """The files of one cache directory; the default is :func:`cache_directory`."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = cache_directory() if directory is None else directory

    # names

    def path(self, expected: Expected, sha256: str) -> Path:
        """Where a file with that hash lies."""
        return self.directory / f"{expected.stem}.{sha256}{expected.suffix}"

    def by_hand(self, expected: Expected) -> Path:
        """Where a person may place the file, under its published name; it is adopted from there when its hash fits."""
        return self.directory / re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(expected.filename).name)

    def prepare(self) -> None:
        """Make the directory.

        Raises:
            OSError: it cannot be made or written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.directory))

    # looking up

    def find(self, expected: Expected) -> Path | None:
        """The cached file, its safetensors form where there is one, or None; never touches the network."""
        sha256 = expected.sha256 or self.pinned(expected)
        if sha256 is None:
            return None
        for stored in sorted(self.files(sha256), key=lambda stored: not stored.is_copy):
            if self.check(stored):
                return stored.path
        return None

    def files(self, key: str | None = None) -> Iterator[Stored]:
        """Every cached file, or those with that hash in their names, in the order of the names."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(self.directory)):
                match = _NAME.match(name)
                if match and match["suffix"] != ".lock" and key in (None, match["key"]):
                    path = self.directory / name
                    yield Stored(path, match["key"], self.record(path))

    def record(self, path: Path) -> Record | None:
        """What was recorded of a cached file; None where nothing (legible) was."""
        try:
            return Record(**json.loads(_beside(path).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def check(self, stored: Stored, *, rehash: bool = False) -> bool:
        """Whether a cached file is what its name says; hashed only if its size or time differ from the record's.

        A damaged file is renamed to ``.damaged`` (so that it is fetched again) and a warning is logged.
        """
        try:
            status = stored.path.stat()
        except OSError:
            return False
        record = stored.record
        if record and not rehash and (record.size, record.changed) == (status.st_size, int(status.st_mtime)):
            return True
        if record is None and stored.path.suffix == ".safetensors" and self._has_original(stored):
            found, wanted = "", "a record of the file that it was made from"
        else:
            found, wanted = file_sha256(stored.path), record.sha256 if record else stored.key
        if found == wanted:
            self._write_record(stored.path, found, record or Record("", 0, 0))
            return True
        _LOG.warning("%s is damaged: its sha256 is %s; it is set aside", stored.path, found or "not recorded")
        with contextlib.suppress(OSError):
            os.replace(stored.path, stored.path.with_name(stored.path.name + ".damaged"))
            _beside(stored.path).unlink(missing_ok=True)
        return False

    def set_aside_if_damaged(self, path: Path) -> bool:
        """Hash a cached file again and set it aside if it has changed; False for a file that is not of this store."""
        stored = next((stored for stored in self.files() if stored.path.name == path.name), None)
        return stored is not None and stored.record is not None and not self.check(stored, rehash=True)

    def _has_original(self, copy: Stored) -> bool:
        return any(copy.path.with_suffix(suffix).exists() for suffix in _PICKLES)

    # pins: the full hash behind a prefix or an address

    def pinned(self, expected: Expected) -> str | None:
        """The full hash recorded at the first use of a file of which only a prefix, or nothing, was known."""
        try:
            value = json.loads((self.directory / f"{expected.key}.pin").read_text())["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else None

    def _pin(self, expected: Expected, sha256: str) -> None:
        if expected.sha256 is None:
            _write_atomically(self.directory / f"{expected.key}.pin", {"sha256": sha256})

    # adding

    def publish(self, file: Path, expected: Expected, sha256: str, *, name: str, address: str) -> Path:
        """Rename a finished file of this directory into its place, and record it; no reader ever sees half of it.

        Raises:
            OSError: the disk refuses.
        """
        target = self.path(expected, sha256)
        os.replace(file, target)
        self._write_record(target, sha256, Record("", 0, 0, name, address, _now()))
        self._pin(expected, sha256)
        _sync_directory(self.directory)
        return target

    def link(self, source: Path, key: str) -> Path | None:
        """A hard link to ``source`` under a temporary name of this directory; None where the file system makes none."""
        temporary = self.temporary(key)
        try:
            os.link(source, temporary)
        except OSError:
            return None
        return temporary

    def copy_path(self, original: Path) -> Path | None:
        """Where the safetensors form of a cached .pth goes; None if ``original`` is not a .pth of this store."""
        match = _NAME.match(original.name)
        if match is None or match["suffix"] not in _PICKLES or original.parent != self.directory:
            return None
        return original.with_suffix(".safetensors")

    def publish_copy(self, file: Path, original: Path, sha256: str) -> Path:
        """Put the safetensors form of a cached .pth beside it; ``sha256`` is the form's own.

        Raises:
            OSError: the disk refuses.
        """
        target = original.with_suffix(".safetensors")
        source = self.record(original) or Record("", 0, 0)
        status = file.stat()
        record = Record(sha256, status.st_size, int(status.st_mtime), source.name, source.address, _now())
        # The record first: a copy without one is not believed.
        _write_atomically(_beside(target), asdict(record))
        os.replace(file, target)
        return target

    def temporary(self, key: str) -> Path:
        """A name for a file that is being made here; clearing away knows it by its ending."""
        return self.directory / f"{key}.{uuid.uuid4().hex[:12]}-{os.getpid()}.tmp"

    def _write_record(self, path: Path, sha256: str, record: Record) -> None:
        status = path.stat()
        fresh = Record(
            sha256, status.st_size, int(status.st_mtime), record.name, record.address, record.fetched or _now()
        )
        with contextlib.suppress(OSError):  # a read-only cache is hashed again next time, no more
            _write_atomically(_beside(path), asdict(fresh))

    def remove(self, stored: Stored) -> None:
        """Remove a cached file and its record.

        The pin of a published prefix stays, so that the very same file is asked for next time; that of a mere
        address, whose content may change, goes with the file.
        """
        stored.path.unlink(missing_ok=True)
        _beside(stored.path).unlink(missing_ok=True)
        for pin in self.directory.glob("*.from-*.pin"):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                if json.loads(pin.read_text()).get("sha256") == stored.key:
                    pin.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write_atomically(path: Path, value: object) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}-{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Bring a rename to the disk; not every system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
