"""sha256, of a file or of a stream while it is written elsewhere."""

from __future__ import annotations

import hashlib
import queue
import threading
from pathlib import Path

__all__ = ["StreamHash", "file_sha256"]

_CHUNK = 1 << 20


def file_sha256(path: Path, *, limit: int | None = None) -> str:
    """sha256 of a file (or of its first ``limit`` bytes), 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK if limit is None else min(_CHUNK, limit)):
            digest.update(chunk)
            limit = None if limit is None else limit - len(chunk)
    return digest.hexdigest()


class StreamHash:
    """A sha256 that runs in a thread beside the one that reads and writes, since hashing is the slowest of the three.

    ``update`` queues at most ``depth`` chunks and then waits. ``hexdigest`` waits until all are hashed.
    """

    def __init__(self, depth: int = 64) -> None:
        self._digest = hashlib.sha256()
        self._chunks: queue.Queue[bytes | None] = queue.Queue(depth)
        self._thread: threading.Thread | None = None

    def _run(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._digest.update(chunk)
            self._chunks.task_done()
        self._chunks.task_done()

    def update(self, chunk: bytes) -> None:
        """Queue bytes; they must not be changed afterwards."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="segzoo-sha256", daemon=True)
            self._thread.start()
        self._chunks.put(chunk)

    def hexdigest(self) -> str:
        """64 hexadecimal digits of all that was given so far."""
        self._chunks.join()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._chunks.put(None)
            self._thread.join()
            self._thread = None
