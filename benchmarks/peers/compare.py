"""Time, memory and labels of segzoo beside mmsegmentation 1.2.2: the same pictures, weights, torch and run.

    FOLDER/bin/python -m benchmarks.peers.compare                      # the cases that have a bar
    FOLDER/bin/python -m benchmarks.peers.compare methods --repeats 1  # one entry a method, at its crop size
    FOLDER/bin/python -m benchmarks.peers.compare NAME NAME@HxW --log benchmarks/logs/peers.jsonl
    python -m benchmarks.peers.compare --table benchmarks/logs/peers.jsonl

Weights are drawn from the tensors' names (:mod:`benchmarks.parity`), which keeps activations as lively as those of a
trained network, and are loaded from one file by both. The picture is a drawn street. Each side has a process of its
own. Time is the median of calls that alternate between the two, from the decoded picture to the mask; the prepared
model is segzoo's after ``optimize()`` with its defaults, and what that took is told. Memory is the peak of what is
resident in the process during the first call, above what was resident with the model loaded (and prepared).
The peer's chain has the softmax that the published figures were made with; its release leaves it out, and so does the
second figure of a ratio. A failure is recorded like a figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import segzoo
from benchmarks.parity import GOLDEN, fill
from benchmarks.peers.cases import METHODS_BAR, Case, choose, methods, reference
from benchmarks.peers.process import Process
from benchmarks.peers.rates import copy_rate, product_rate
from segzoo import records
from segzoo.datasets.drawn_streets import draw
from segzoo.errors import SegzooError
from segzoo.index import find

__all__ = ["compare", "main", "table"]

PEER = "mmsegmentation 1.2.2"
_SEED = 77_000_123  # of the drawn street
_GIB = 2**30


def _process(side: str, case: Case, files: Path, threads: int) -> Process:
    resize = "entry" if case.fitted else "none"
    arguments = ["benchmarks.peers.worker", side, case.entry, str(files), str(threads), resize]
    return Process(side, arguments, files / f"{side}.log")


def compare(case: Case, *, repeats: int, threads: int, rates: Mapping[str, float]) -> dict[str, Any]:
    """A log record of both sides at work on ``case``.

    Raises:
        SegzooError: a side failed; the message has its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        np.save(files / "picture.npy", draw(_SEED, case.size)[0])
        _write_weights(case, files / "weights.safetensors")
        running: list[Process] = []
        try:
            for side in ("ours", "theirs"):
                running.append(_process(side, case, files, threads))
            return _measure(case, running, files, repeats=repeats, threads=threads, rates=rates)
        finally:
            for process in running:
                process.end()


def _write_weights(case: Case, path: Path) -> None:
    entry = find(case.entry)
    about = json.loads((GOLDEN / "architectures" / f"{reference(entry)}.json").read_text())
    model = segzoo.load(entry.name, pretrained=False)
    fill(model, about["norm_scale"], about["tied"])
    save_file({key: tensor.clone().contiguous() for key, tensor in model.state_dict().items()}, path)


def _measure(
    case: Case,
    running: Sequence[Process],
    files: Path,
    *,
    repeats: int,
    threads: int,
    rates: Mapping[str, float],
) -> dict[str, Any]:
    ours, theirs = running
    memory = {process.side: process.ask("memory") for process in (ours, theirs)}
    times: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        for process in (ours, theirs):
            times[process.side].append(process.ask("time"))
    for process in (ours, theirs):
        process.ask("labels")
    labels = [np.load(files / f"{process.side}.npy") for process in (ours, theirs)]
    seconds = [statistics.median(t["seconds"] for t in times[side]) for side in ("ours", "theirs")]
    processor = [statistics.median(t["processor"] for t in times[side]) for side in ("ours", "theirs")]
    plain = statistics.median(t["seconds"] - t["softmax"] for t in times["theirs"])
    used = {side: found["peak"] - found["loaded"] for side, found in memory.items()}
    used_plain = memory["theirs"]["peak_without_softmax"] - memory["theirs"]["loaded"]
    work = ours.ask("work")
    return {
        "kind": "comparison",
        "subject": case.label,
        "method": find(case.entry).method,
        "peer": PEER,
        "resize": "entry" if case.fitted else None,
        "unit": "seconds a picture, from the decoded picture to the mask",
        "ours": round(seconds[0], 5),
        "theirs": round(seconds[1], 5),
        "time_ratio": round(seconds[1] / seconds[0], 3),
        "time_ratio_without_softmax": round(plain / seconds[0], 3),
        "processor_time_ratio": round(processor[1] / processor[0], 3),
        "memory_ratio": round(used["theirs"] / used["ours"], 3),
        "memory_ratio_without_softmax": round(used_plain / used["ours"], 3),
        "peak_above_loaded": used,
        "resident": memory,
        "same_labels": round(float((labels[0] == labels[1]).mean()), 7),
        "largest_gap": theirs.ask("gap")["gap"],
        "seconds_to_optimize": round(memory["ours"]["preparing"], 3),
        "optimized": memory["ours"]["done"],
        "times": {side: [round(t["seconds"], 5) for t in found] for side, found in times.items()},
        "work": work,
        "limits": {
            "rates": dict(rates),
            "seconds_of_operations": round(work["operations"] / rates["operations_per_second"], 5),
            "seconds_of_bytes": round(work["bytes"] / rates["bytes_per_second"], 5),
        },
        "bar": case.bar and {"time": case.bar[0], "memory": case.bar[1]},
        "dtype": "float32",
        "threads": threads,
        "torch": {"ours": ours.torch, "theirs": theirs.torch},
        "environment": records.environment("cpu"),
    }


def failure(case: Case, error: Exception) -> dict[str, Any]:
    """The log record of a case that gave no figure."""
    return {
        "kind": "failure",
        "entry": case.entry,
        "work": f"comparison with {PEER} at {case.size[0]}x{case.size[1]}",
        "reason": str(error),
        "environment": records.environment("cpu"),
    }


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of ``comparison`` records, and the geometric means over the methods if all are there."""
    head = (
        "case | ms | peer's ms | time | (no softmax) | bar | MiB | memory | (no softmax) | bar | same labels | "
        "optimize s | operations ms | bytes ms"
    )
    lines = [f"| {head} |", "|---" + "|---:" * head.count("|") + "|"]
    for record in found:
        bar = record["bar"] or {"time": "", "memory": ""}
        limits = record["limits"]
        cells = (
            record["subject"],
            f"{1000 * record['ours']:.0f}",
            f"{1000 * record['theirs']:.0f}",
            f"{record['time_ratio']:.2f}",
            f"{record['time_ratio_without_softmax']:.2f}",
            bar["time"],
            f"{record['peak_above_loaded']['ours'] / 2**20:.0f}",
            f"{record['memory_ratio']:.2f}",
            f"{record['memory_ratio_without_softmax']:.2f}",
            bar["memory"],
            f"{record['same_labels']:.5%}",
            f"{record['seconds_to_optimize']:.1f}",
            f"{1000 * limits['seconds_of_operations']:.0f}",
            f"{1000 * limits['seconds_of_bytes']:.0f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, *_means(found)])


def _means(found: Sequence[Mapping[str, Any]]) -> list[str]:
    latest = {record["subject"]: record for record in found}
    wanted = [case.label for case in methods()]
    there = [latest[label] for label in wanted if label in latest]
    if len(there) < 2:
        return []
    time, memory = (
        statistics.geometric_mean(record[key] for record in there) for key in ("time_ratio", "memory_ratio")
    )
    absent = [label for label in wanted if label not in latest]
    lines = [
        "",
        f"Geometric mean over {len(there)} of {len(wanted)} methods, one entry each at its crop size: time {time:.2f} "
        f"(bar {METHODS_BAR[0]:g}), memory {memory:.2f} (bar {METHODS_BAR[1]:g}).",
    ]
    return lines + ([f"Not measured: {', '.join(absent)}."] if absent else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if a case failed."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["bars"], metavar="CASE", help="bars, methods, NAME or NAME@HxW")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed calls of each side (default: 5)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of each side's torch (default: 2)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="add the records to this file of JSON lines")
    parser.add_argument("--table", type=Path, metavar="FILE", help="measure nothing: print the table of this log")
    args = parser.parse_args(argv)
    if args.table:
        print(table([record for record in records.read([args.table]) if record["kind"] == "comparison"]))
        return 0
    torch.set_num_threads(args.threads)
    rates = {"operations_per_second": round(product_rate()), "bytes_per_second": round(copy_rate())}
    found: list[dict[str, Any]] = []
    failed = 0
    for case in choose(args.cases):
        try:
            record = compare(case, repeats=args.repeats, threads=args.threads, rates=rates)
            found.append(record)
            print(table([record]).splitlines()[2], flush=True)
        except SegzooError as error:
            failed += 1
            record = failure(case, error)
            print(f"{case.label}: {error}", file=sys.stderr, flush=True)
        if args.log:
            records.append(args.log, record)
    print(f"\n{table(found)}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
