"""What the C library's allocator keeps of the memory that it is given back. All this is for glibc; elsewhere nothing
happens."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator

__all__ = ["give_back", "kept_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of mallopt(3)


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """While active, what the C library's allocator is given back it keeps, and gives out again.

    By default glibc hands blocks of over 32 MiB back to the system each time, which then clears every page of the next
    one: a sum of two maps of 64 MiB takes three times as long as the sum. A training step allocates hundreds of maps,
    the same at each step. Afterwards free memory is returned, and the limits are those that glibc adapts itself to.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, 65536)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, 64 << 20)
        library.malloc_trim(0)


def give_back() -> None:
    """Return free memory to the system, also what lies between blocks that are still in use."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
