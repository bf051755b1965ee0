"""Exports one architecture a method in both formats, runs the files, and logs by how much their logits differ.

    python -m benchmarks.exports                                     # the smallest architecture of each method
    python -m benchmarks.exports 'pspnet*' --log benchmarks/logs/exports.jsonl

Sizes are left open where the index says that they can be; a file is then compared at two sizes, of which the second
is odd. Weights are drawn from the tensors' names.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.parity import GOLDEN, fill, names
from segzoo import records
from segzoo.build import build
from segzoo.errors import InputSizeError, SegzooError
from segzoo.export.exporting import Format, export
from segzoo.index import find
from segzoo.segmentor import Segmentor

__all__ = ["main", "measure", "smallest"]

SIZE = (128, 160)  # (height, width); entries that take a single size are exported at that


def smallest() -> list[str]:
    """The published name of the architecture with the fewest parameters of each method."""
    found: dict[str, tuple[int, str]] = {}
    for name in names():
        about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
        method = find(name).method
        mine = (int(about["parameters"]), name)
        found[method] = min(found.get(method, mine), mine)
    return sorted(name for _, name in found.values())


def measure(name: str, format: Format, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Export the architecture that ``name`` stands for and return a log record, of kind ``export`` or ``failure``."""
    entry = find(name)
    about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
    model = build(entry, model_class=Segmentor)
    fill(model, about["norm_scale"], about["tied"])
    dynamic = entry.architecture.export == "dynamic"
    environment = records.environment("cpu")
    try:
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = export(model, Path(folder) / "network", format=format, size=size, dynamic=dynamic)
            except InputSizeError:
                made = export(model, Path(folder) / "network", format=format, size=entry.crop_size, dynamic=dynamic)
    except SegzooError as error:
        work = f"export as {format}, {'any size' if dynamic else 'one size'}"
        return {
            "kind": "failure",
            "entry": entry.name,
            "work": work,
            "reason": str(error)[:500],
            "environment": environment,
        }
    return {
        "kind": "export",
        "entry": entry.name,
        "method": entry.method,
        "format": format,
        "sizes": "any" if dynamic else "one",
        "errors": {f"{a.size[0]}x{a.size[1]}": float(f"{a.error:.2e}") for a in made.agreements},
        "environment": environment,
    }


def _all(patterns: Sequence[str]) -> Iterator[tuple[str, Format]]:
    chosen = smallest() if not patterns else [n for n in names() if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    for name in chosen:
        for format in get_args(Format):
            yield name, format


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if an export failed."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="published names of architectures")
    parser.add_argument("--log", type=Path, metavar="FILE", help="add the records to this file of JSON lines")
    args = parser.parse_args(argv)
    failed = 0
    for name, format in _all(args.patterns):
        record = measure(name, format)
        failed += record["kind"] == "failure"
        print(name, format, record.get("errors") or record["reason"], flush=True)
        if args.log:
            records.append(args.log, record)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
