"""What torchrun starts in the tests: evaluations over several processes, one after the other, each into a log."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from segzoo.cli import main
from segzoo.datasets.base import open_dataset
from segzoo.evaluation.accuracy import measure
from segzoo.evaluation.processes import joined, place
from tests.evaluation.small import Small

__all__ = ["ENTRY", "LIMITS"]

ENTRY = "fast_scnn_drawn_streets"
LIMITS = (1, 5)  # fewer pictures than processes, and a number that neither two nor three processes share evenly


def run(streets: Path, others: Path, out: Path) -> None:
    """Each process evaluates; the first writes the log, all write what they have counted."""
    common = ["evaluate", ENTRY, "--data", str(streets), "--quiet", "--device", "cpu", "--out", str(out / "log.jsonl")]
    for limit in LIMITS:
        if main([*common, "--limit", str(limit)]):
            raise SystemExit(f"segzoo evaluate --limit {limit} failed")
    data = open_dataset("ade20k", others)
    with joined():
        counts, _ = measure(Small("ade20k"), data)
        rank, world = place()
    torch.save(counts.matrix, out / f"{rank}of{world}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(*map(Path, sys.argv[1:]))
