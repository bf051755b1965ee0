"""The comparison with the peer: its cases, what it counts and what it prints. The peer itself is not needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benchmarks.peers import cases, memory
from benchmarks.peers.compare import failure, table
from benchmarks.peers.process import Process
from benchmarks.peers.rates import Work, count
from segzoo import records
from segzoo.errors import OptionError, SegzooError, UnknownNameError
from segzoo.index import default_index, find


def test_there_is_one_case_a_method_at_its_crop() -> None:
    chosen = cases.methods()
    methods = {entry.method for entry in default_index().entries.values()}
    assert sorted(find(case.entry).method for case in chosen) == sorted(methods)
    assert all(case.size == find(case.entry).crop_size for case in chosen)


def test_cases_by_name() -> None:
    assert cases.choose(["bars"]) == list(cases.BARS)
    (case,) = cases.choose(["cgnet_cityscapes@64x96"])
    assert (case.size, case.bar, case.label) == ((64, 96), None, f"{case.entry}@64x96")
    (case,) = cases.choose([cases.BARS[0].label])
    assert case.bar == cases.BARS[0].bar
    with pytest.raises(OptionError, match="HEIGHTxWIDTH"):
        cases.choose(["cgnet_cityscapes@64"])
    with pytest.raises(UnknownNameError):
        cases.choose(["nothing_of_the_kind"])


def test_the_peers_configuration_is_found_by_name(tmp_path: Path) -> None:
    entry = find("pspnet_r50_cityscapes")
    with pytest.raises(OptionError, match="no configuration"):
        cases.configuration(entry, tmp_path)
    name = next(alias for alias in entry.aliases if "4xb2" in alias)
    path = tmp_path / "pspnet" / f"{name}.py"
    path.parent.mkdir()
    path.write_text("model = {}")
    assert cases.configuration(entry, tmp_path) == path


def test_every_case_has_statistics_to_draw_weights_with() -> None:
    for case in (*cases.BARS, *cases.methods()):
        assert find(cases.reference(find(case.entry))).method == find(case.entry).method


def test_work_is_counted() -> None:
    x, weight = torch.ones(1, 4, 10, 10), torch.ones(8, 4, 1, 1)

    def work() -> torch.Tensor:
        return F.conv2d(x, weight).flatten(1)  # a view moves nothing

    values = x.numel() + weight.numel() + 8 * 100
    assert count(work) == Work(operations=2 * 4 * 8 * 100, bytes=4 * values)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of resident memory")
def test_peak_of_memory() -> None:
    before = memory.restart()
    block = torch.ones(1 << 24)
    del block
    assert 60 << 20 < memory.peak() - before < 100 << 20
    assert memory.restart() < before + (30 << 20)
    assert memory.peak() < before + (30 << 20)


def record(case: cases.Case, time: float, memory: float) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "subject": case.label,
        "peer": "the peer",
        "unit": "seconds",
        "ours": 1.0,
        "theirs": time,
        "time_ratio": time,
        "time_ratio_without_softmax": time,
        "memory_ratio": memory,
        "memory_ratio_without_softmax": memory,
        "peak_above_loaded": {"ours": 1 << 20, "theirs": 2 << 20},
        "same_labels": 1.0,
        "seconds_to_optimize": 0.5,
        "limits": {"seconds_of_operations": 0.25, "seconds_of_bytes": 0.5},
        "bar": case.bar and {"time": case.bar[0], "memory": case.bar[1]},
        "environment": records.environment("cpu"),
    }


def test_the_table_tells_means_and_what_is_missing() -> None:
    first, second, *rest = cases.methods()
    found = [record(cases.BARS[0], 6, 9), record(first, 2, 1), record(second, 8, 4)]
    for each in found:
        records.validate(each)
    text = table(found)
    assert f"| {cases.BARS[0].label} | 1000 | 6000 | 6.00 |" in text
    assert "time 4.00 (bar 2), memory 2.00 (bar 2)" in text
    assert f"over 2 of {len(rest) + 2} methods" in text
    assert all(case.label in text.partition("Not measured")[2] for case in rest)
    assert "Geometric" not in table(found[:1])


@pytest.mark.skipif(importlib.util.find_spec("mmcv") is not None, reason="the peer is here")
def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "picture.npy", np.zeros((8, 8, 3), np.uint8))
    arguments = ["benchmarks.peers.worker", "theirs", cases.BARS[0].entry, str(tmp_path), "1", "none"]
    with pytest.raises(SegzooError, match=r"theirs ended with code 1: ModuleNotFoundError.*mmcv") as raised:
        Process("theirs", arguments, tmp_path / "theirs.log")
    kept = failure(cases.BARS[0], raised.value)
    records.validate(kept)
    assert "mmcv" in kept["reason"]
