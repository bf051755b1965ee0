"""A lock between processes that ends with its holder and leaves no file behind.

It saves work (many ask, one downloads); nothing is wrong without it, since every writer has its own file
and publishes by an atomic rename. Where the file system has no locks, acquiring succeeds and ``held`` is False.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

__all__ = ["Lock"]

_POLL_S = 0.05
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """An exclusive lock on ``path``, released when its holder leaves the block or dies.

    While another holds it, ``waiting`` is called every 50 ms; when that returns True the wait is given up and
    the block is entered with ``held`` False.

    Raises (on entering):
        OSError: the lock file cannot be made (a read-only or missing directory).
    """

    def __init__(self, path: Path, waiting: Callable[[], bool]) -> None:
        self.path = path
        self.held = False
        self._waiting = waiting
        self._descriptor: int | None = None

    def __enter__(self) -> Lock:
        while not self._attempt() and not self._waiting():
            time.sleep(_POLL_S)
        return self

    def _attempt(self) -> bool:
        """True when there is nothing more to wait for: the lock is held, or the file system has none."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_lock(descriptor)
            # The last holder may have unlinked this very file between our open and our lock: then it locks nothing.
            if not os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                raise FileNotFoundError
        except OSError as error:
            os.close(descriptor)
            return error.errno in _NO_LOCKS
        self._descriptor, self.held = descriptor, True
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # Windows cannot unlink an open file; `cache prune` does it later
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor, self.held = None, False
