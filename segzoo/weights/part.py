"""A file while it is being downloaded.

A part has a name of its own, with its owner's host and process in it, so that no two writers ever share one. What a
writer leaves behind when it fails, or dies, can be claimed by the next: claiming is a rename, which one of many wins.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from segzoo.weights.hashing import StreamHash

__all__ = ["Part", "Validator", "is_orphan", "parts_of"]

_FOREIGN_AGE_S = 3600.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Validator:
    """What tells that a server still has the same file: its strong ETag or its date, and the address it came from."""

    address: str = ""
    tag: str = ""
    total: int | None = None


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())[:24] or "host"


def parts_of(directory: Path, key: str = "") -> list[Path]:
    """Part files of one key, or of all, whosoever owns them."""
    found = [path for path in directory.glob("*.part") if not key or path.name.startswith(f"{key}.")]
    return sorted(found)


def is_orphan(path: Path) -> bool:
    """Whether nobody writes to a part any more: given up, or its process is dead, or it is another host's and old."""
    match = re.search(r"\.([A-Za-z0-9_-]+)-(\d+)-[0-9a-f]{12}\.part$", path.name)
    if match is None:
        return False
    host, process = match[1], int(match[2])
    if process == 0:
        return True
    if host != _host() or os.name == "nt":  # Windows cannot ask for a process without the risk of ending it
        try:
            return time.time() - path.stat().st_mtime > _FOREIGN_AGE_S
        except OSError:
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


class Part:
    """The bytes so far, hashed as they are written; ``size`` counts them, ``validator`` says whose they are."""

    def __init__(self, directory: Path, key: str, *, resume: bool) -> None:
        """Claim what a dead or failed writer left (with ``resume``: only under the key's lock), else begin anew.

        Raises:
            OSError: the directory cannot be written.
        """
        self._directory, self._key = directory, key
        self.path = self._name(os.getpid())
        self.validator = Validator()
        self.size = 0
        self._hash = StreamHash()
        if resume:
            self._claim()
        self._file = self.path.open("ab", buffering=0)
        self.size = self._file.tell()
        self._hash_existing()

    def _name(self, process: int) -> Path:
        return self._directory / f"{self._key}.{_host()}-{process}-{uuid.uuid4().hex[:12]}.part"

    def _claim(self) -> None:
        """Take over the largest orphan, and clear the others away."""

        def length(path: Path) -> int:
            try:
                return path.stat().st_size
            except OSError:
                return -1

        orphans = sorted(filter(is_orphan, parts_of(self._directory, self._key)), key=length, reverse=True)
        claimed = False
        for orphan in orphans:
            if claimed or length(orphan) <= 0:
                remove(orphan)
                continue
            with contextlib.suppress(OSError):
                os.rename(orphan, self.path)
                claimed = True
                with contextlib.suppress(OSError, ValueError, TypeError):
                    self.validator = Validator(**json.loads(_note(orphan).read_text()))
                _note(orphan).unlink(missing_ok=True)
                self._write_note()

    def _hash_existing(self) -> None:
        if self.size:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    self._hash.update(chunk)

    def _write_note(self) -> None:
        with contextlib.suppress(OSError):  # without the note the rest is fetched without If-Range
            _note(self.path).write_text(json.dumps(asdict(self.validator)))

    def describe(self, validator: Validator) -> None:
        """Remember whose bytes these are, for whoever resumes."""
        if validator != self.validator:
            self.validator = validator
            self._write_note()

    def make_room(self, total: int) -> None:
        """Refuse at once what cannot fit, before the disk is full for everybody.

        Raises:
            OSError: fewer bytes are free than are still to come (``ENOSPC``).
        """
        if shutil.disk_usage(self._directory).free < total - self.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))

    def write(self, chunk: bytes) -> None:
        """Append and hash.

        Raises:
            OSError: the disk is full, or the like.
        """
        self._hash.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(chunk)

    def restart(self) -> None:
        """Forget every byte."""
        self._file.truncate(0)
        self._hash.close()
        self._hash = StreamHash()
        self.size = 0
        self.describe(Validator())

    def sha256(self) -> str:
        """Hash of the bytes so far."""
        return self._hash.hexdigest()

    def finish(self) -> Path:
        """Bring the bytes to the disk and close; the caller renames the file that is returned."""
        os.fsync(self._file.fileno())
        self._close()
        _note(self.path).unlink(missing_ok=True)
        return self.path

    def give_up(self) -> None:
        """Close, and leave the bytes for the next attempt, in this process or another."""
        self._close()
        if not self.size:
            remove(self.path)
            return
        unowned = self._name(0)
        with contextlib.suppress(OSError):
            os.rename(_note(self.path), _note(unowned))
        with contextlib.suppress(OSError):
            os.rename(self.path, unowned)

    def discard(self) -> None:
        """Close and remove."""
        self._close()
        remove(self.path)

    def _close(self) -> None:
        self._hash.close()
        self._file.close()


def remove(part: Path) -> None:
    """Remove a part and its note."""
    for path in (part, _note(part)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
