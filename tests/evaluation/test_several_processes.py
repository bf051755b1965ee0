"""The same figures from one process, two and three, under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segzoo.datasets.base import open_dataset
from segzoo.datasets.drawn_streets import write
from segzoo.evaluation.accuracy import evaluate, measure
from segzoo.evaluation.processes import device_of, first, place, share
from segzoo.records import read
from tests.datasets.made import make
from tests.evaluation.several import ENTRY, LIMITS
from tests.evaluation.small import Small

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    streets, others = tmp_path_factory.mktemp("streets"), tmp_path_factory.mktemp("others")
    list(write(streets, train=0, val=max(LIMITS), size=(32, 64), seed=2))
    make(others, "ade20k", count=7)
    return streets, others


def torchrun(processes: int, *arguments: str | Path) -> None:
    """Start a script in several processes on this machine, on a port that is free."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-m", "tests.evaluation.several", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what may differ: when and by how many it was made."""
    return {name: value for name, value in record.items() if name not in ("environment", "processes")}


@pytest.mark.parametrize("processes", [2, 3])
def test_figures_are_the_same_as_of_one_process(processes: int, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    streets, others = pictures
    torchrun(processes, streets, others, tmp_path)
    records = read([tmp_path / "log.jsonl"])
    assert [record["processes"] for record in records] == [processes] * len(LIMITS)
    for limit, record in zip(LIMITS, records, strict=True):
        alone = evaluate(ENTRY, streets, limit=limit, device="cpu")
        assert figures(record) == figures(alone.record())
    counts, seven = measure(Small("ade20k"), open_dataset("ade20k", others))
    assert seven == 7
    for rank in range(processes):
        assert torch.equal(torch.load(tmp_path / f"{rank}of{processes}.pt"), counts.matrix)


def test_every_picture_is_in_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(6):
        for world in range(1, 5):
            shares = []
            for rank in range(world):
                monkeypatch.setattr("segzoo.evaluation.processes.place", lambda rank=rank, world=world: (rank, world))
                shares += share(count)
            assert sorted(shares) == list(range(count))


def test_alone_there_is_no_group() -> None:
    assert place() == (0, 1)
    assert first()
    assert str(device_of("cpu")) == "cpu"
