"""Writing measured hashes and sizes into ``model_index/``: only those two lines of an entry change."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from segzoo.errors import HashMismatchError, IndexSchemaError
from segzoo.index import Entry
from segzoo.index_schema import read_entries
from segzoo.weights import sources
from segzoo.weights.expected import Expected
from segzoo.weights.mirror import Mirrored
from segzoo.weights.store import Store

__all__ = ["Measured", "measured_by_mirror", "measured_in_cache", "pin"]


@dataclass(frozen=True)
class Measured:
    """The full sha256 and the size in bytes of an entry's file."""

    sha256: str
    size: int


def measured_in_cache(entries: Iterable[Entry], store: Store) -> dict[str, Measured]:
    """What the cache has measured, by entry: files that were downloaded, and still are what they were."""
    originals = {stored.key: stored for stored in store.files() if not stored.is_copy}
    measured = {}
    for entry in entries:
        weights = entry.weights
        expected = Expected(weights.filename, weights.sha256, weights.sha256_prefix, identity=weights.addresses[0])
        stored = originals.get(weights.sha256 or store.pinned(expected) or "")
        if stored is not None and store.check(stored):
            measured[entry.name] = Measured(stored.key, stored.size)
    return measured


def measured_by_mirror(entries: Iterable[Entry], files: Mapping[str, Mirrored]) -> dict[str, Measured]:
    """What a mirror's manifest says, by entry."""
    measured = {}
    for entry in entries:
        for address in entry.weights.addresses:
            item = files.get(sources.published_path(address) or "")
            if item is not None:
                measured[entry.name] = Measured(item.sha256, item.size)
                break
    return measured


def pin(directory: Path, measured: Mapping[str, Measured]) -> list[str]:
    """Write the figures into the YAML files of ``directory``; returns the names of the entries that changed.

    Raises:
        HashMismatchError: the index has another sha256 for an entry already; nothing is written.
        IndexSchemaError: a file cannot be read, or is laid out so that the lines cannot be placed.
        OSError: a file cannot be written.
    """
    edits: list[tuple[Path, str]] = []
    changed: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        if path.name in ("backbones.yaml", "datasets.yaml"):
            continue
        entries = {entry.name: entry for entry in read_entries(path)}
        wanted = {name: figures for name, figures in measured.items() if name in entries}
        stale = [
            name
            for name, figures in wanted.items()
            if (entries[name].weights.sha256, entries[name].weights.size) != (figures.sha256, figures.size)
        ]
        if not stale:
            continue
        text = path.read_text(encoding="utf-8")
        for name in stale:
            before = entries[name].weights.sha256
            if before is not None and before != measured[name].sha256:
                raise HashMismatchError(
                    f"{path.name}: entry '{name}' has sha256 {before};\n  measured sha256 {measured[name].sha256}.\n"
                    "If the published file was replaced, remove the old value by hand first."
                )
            text = _with_figures(text, name, measured[name], path)
        _check(text, path, entries, {name: wanted[name] for name in stale})
        edits.append((path, text))
        changed += stale
    for path, text in edits:
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    return changed


def _with_figures(text: str, name: str, figures: Measured, path: Path) -> str:
    """``text`` with the two lines at the end of the entry's ``weights`` block."""
    entry = re.search(rf"^  {re.escape(name)}:[^\n]*\n(?:(?:    [^\n]*)?\n)*", text, re.MULTILINE)
    block = entry and re.search(r"^    weights:[ ]*\n((?:      [^\n]*\n)+)", entry[0], re.MULTILINE)
    if entry is None or block is None:
        raise IndexSchemaError(f"{path.name}: entry '{name}': found no block 'weights:' with one field a line")
    kept = re.sub(r"^      (?:sha256|size):[^\n]*\n", "", block[1], flags=re.MULTILINE)
    fresh = f'{kept}      sha256: "{figures.sha256}"\n      size: {figures.size}\n'
    start = entry.start() + block.start(1)
    return text[:start] + fresh + text[start + len(block[1]) :]


def _check(text: str, path: Path, before: Mapping[str, Entry], figures: Mapping[str, Measured]) -> None:
    """Read the new text as the index would: the figures are there, and nothing else has changed."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, encoding="utf-8")
        after = {entry.name: entry for entry in read_entries(draft)}
    for name, entry in before.items():
        wanted = entry
        if name in figures:
            weights = replace(entry.weights, sha256=figures[name].sha256, size=figures[name].size)
            wanted = replace(entry, weights=weights)
        if after.get(name) != wanted:
            raise IndexSchemaError(f"{path.name}: writing the figures would change entry '{name}'; nothing was written")
