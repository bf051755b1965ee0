"""What lies in the cache: listing, hashing again, clearing away."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segzoo.weights.part import is_orphan, remove
from segzoo.weights.store import Store, Stored

__all__ = ["Removal", "matching", "prune", "residue", "verify"]

_FRESH_S = 600.0


@dataclass(frozen=True)
class Removal:
    """A file that was, or would be, removed, its size in bytes, and why."""

    path: Path
    size: int
    reason: str


def matching(store: Store, patterns: Iterable[str]) -> list[Stored]:
    """Cached files whose entry or file name fits a shell pattern (or, without ``*?[``, holds it); no pattern: all."""
    patterns = [p if any(mark in p for mark in "*?[") else f"*{p}*" for p in patterns]

    def fits(stored: Stored) -> bool:
        names = (stored.path.name, stored.record.name if stored.record else "")
        return not patterns or any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return [stored for stored in store.files() if fits(stored)]


def verify(store: Store, files: Iterable[Stored]) -> list[tuple[Stored, bool]]:
    """Hash every file again; a damaged one is set aside, so that it is fetched again when next wanted."""
    return [(stored, store.check(stored, rehash=True)) for stored in files]


def residue(store: Store) -> list[Removal]:
    """What interrupted work left behind and nobody uses: parts, temporary files, locks, damaged files, lone records."""
    found: list[Removal] = []
    if not store.directory.is_dir():
        return found
    for path in sorted(store.directory.iterdir()):
        try:
            status = path.stat()
        except OSError:
            continue
        idle = time.time() - status.st_mtime > _FRESH_S
        if path.suffix == ".part" and is_orphan(path):
            found.append(Removal(path, status.st_size, "an unfinished download"))
        elif path.suffix == ".tmp" and idle:
            found.append(Removal(path, status.st_size, "an unfinished file"))
        elif path.suffix == ".damaged":
            found.append(Removal(path, status.st_size, "damaged"))
        elif path.suffix == ".lock" and idle:
            found.append(Removal(path, status.st_size, "an old lock"))
        elif path.suffix == ".json" and idle and _is_lone(path):
            found.append(Removal(path, status.st_size, "a record without its file"))
    return found


def _is_lone(record: Path) -> bool:
    """A record or a part's note whose file is gone; a cached file that is itself JSON has no second suffix."""
    owner = record.with_suffix("")
    return owner.suffix in (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".part", ".json") and not owner.exists()


def prune(
    store: Store,
    files: Iterable[Stored] = (),
    *,
    originals: bool = False,
    older_than_days: float | None = None,
    dry_run: bool = False,
) -> list[Removal]:
    """Clear away :func:`residue`, and of ``files`` those that fit.

    Args:
        store: the cache.
        files: candidates, such as those of :func:`matching`.
        originals: only .pth files whose safetensors form is there, which is what is loaded.
        older_than_days: only files not fetched or made within so many days.
        dry_run: removes nothing.

    Returns:
        What was (or would be) removed.
    """
    removals = residue(store)
    everything = list(store.files())
    copies = {stored.key for stored in everything if stored.is_copy}
    chosen = []
    for stored in files:
        age = (time.time() - stored.path.stat().st_mtime) / 86400
        if originals and (stored.is_copy or stored.key not in copies):
            continue
        if older_than_days is None or age > older_than_days:
            chosen.append(stored)
    removals += [Removal(s.path, s.size, "a safetensors form" if s.is_copy else "as asked") for s in chosen]
    if not dry_run:
        for removal in removals:
            if removal.path.suffix == ".part":
                remove(removal.path)
        for stored in chosen:
            store.remove(stored)
        for removal in removals:
            removal.path.unlink(missing_ok=True)
    return removals
