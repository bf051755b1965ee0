"""Seconds a training step of segzoo beside mmsegmentation 1.2.2: the same weights, pictures, torch and run.

    FOLDER/bin/python -m benchmarks.peers.training --log benchmarks/logs/peers_training.jsonl

By default the published set-up: PSPNet and DeepLabV3+ on ResNet-101 V1c, output stride 8, 512 x 1024, batch 2, float32.
Steps of the two alternate, each side in a process of its own; the first of each is not counted. A step is forward,
the losses of all heads, backward and SGD; pictures lie ready. Dropout is off, and the losses of both are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

import segzoo
from benchmarks.parity import GOLDEN, fill
from benchmarks.peers.cases import reference
from benchmarks.peers.compare import PEER
from benchmarks.peers.process import Process
from segzoo import records
from segzoo.errors import SegzooError
from segzoo.index import find

__all__ = ["compare", "main"]

PUBLISHED = ("pspnet_r101_d8_512x1024_80k_cityscapes", "deeplabv3plus_r101_d8_512x1024_80k_cityscapes")
BAR = 0.9  # of the peer's seconds


def compare(name: str, size: tuple[int, int], *, batch: int, steps: int, threads: int) -> dict[str, Any]:
    """A log record of ``steps`` counted steps of both sides.

    Raises:
        SegzooError: a side failed; the message has its last line.
    """
    entry = find(name)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        about = json.loads((GOLDEN / "architectures" / f"{reference(entry)}.json").read_text())
        model = segzoo.load(entry.name, pretrained=False, auxiliary=True)
        fill(model, about["norm_scale"], about["tied"])
        save_file(
            {key: value.clone().contiguous() for key, value in model.state_dict().items()},
            files / "weights.safetensors",
        )
        del model
        common = [entry.name, str(files), str(threads), f"{size[0]}x{size[1]}", str(batch)]
        running: list[Process] = []
        found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
        try:
            for side in found:
                arguments = ["benchmarks.peers.training_side", side, *common]
                running.append(Process(side, arguments, files / f"{side}.log"))
            for _ in range(steps + 1):
                for process in running:
                    found[process.side].append(process.ask("step"))
        finally:
            for process in running:
                process.end()
    seconds = {side: [step["seconds"] for step in all_steps[1:]] for side, all_steps in found.items()}
    first = {side: all_steps[0]["loss"] for side, all_steps in found.items()}
    mine, other = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    return {
        "kind": "comparison",
        "subject": f"training {entry.name}@{size[0]}x{size[1]}, batch {batch}",
        "peer": PEER,
        "unit": "seconds a training step",
        "ours": round(mine, 4),
        "theirs": round(other, 4),
        "ours_over_theirs": round(mine / other, 4),
        "bar": BAR,
        "seconds": {side: [round(value, 4) for value in values] for side, values in seconds.items()},
        "first_loss": first,
        "dtype": "float32",
        "threads": threads,
        "torch": {process.side: process.torch for process in running},
        "environment": records.environment("cpu"),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if an entry failed."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", nargs="*", default=PUBLISHED, metavar="NAME", help="entries (default: the two)")
    parser.add_argument("--size", default="512x1024", metavar="HxW", help="of the pictures (default: 512x1024)")
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="pictures a step (default: 2)")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="counted steps of each side (default: 3)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of each side's torch (default: 2)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="add the records to this file of JSON lines")
    args = parser.parse_args(argv)
    height, width = map(int, args.size.split("x"))
    failed = False
    for name in args.entries:
        try:
            record = compare(name, (height, width), batch=args.batch, steps=args.steps, threads=args.threads)
        except SegzooError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(
            f"{record['subject']}: {record['ours']:.3f} s, the peer {record['theirs']:.3f} s, "
            f"ratio {record['ours_over_theirs']:.3f} (bar {BAR}); first losses {record['first_loss']}",
            flush=True,
        )
        if args.log:
            records.append(args.log, record)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
