"""``segzoo evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EXAMPLES = """\
examples:
  segzoo evaluate pspnet_r50_cityscapes --data data/cityscapes
  segzoo evaluate fast_scnn_drawn_streets --data streets/ --out benchmarks/logs/drawn_streets.jsonl
  segzoo evaluate upernet_r50_ade20k --data data/ --tta --limit 50
  segzoo evaluate runs/mine --data pictures/ --dataset folder
  torchrun --nproc-per-node 4 -m segzoo evaluate pspnet_r50_cityscapes --data data/cityscapes
"""


def add_commands(subparsers: Any) -> None:
    """Add ``evaluate`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model's accuracy on a data set",
        description="Measure a model's accuracy by the protocol of its published figures: IoU, accuracy and Dice of "
        "every class, from areas summed over the data set. An interrupted run goes on when it is started again. "
        "Under torchrun the pictures are shared out among the processes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="any of the model's names, or a saved model")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="the data set's folder, or one that holds it (data)")
    parser.add_argument("--dataset", metavar="KEY", help="see segzoo datasets (default: the model's own); or folder")
    parser.add_argument("--split", default="val", help="of the data set (default: val)")
    parser.add_argument("--tta", action="store_true", help="average over six sizes and their mirror images (ms+flip)")
    parser.add_argument(
        "--tta-protocol",
        choices=("0.x", "1.x"),
        default="0.x",
        help="what the six ratios scale: the size that the picture is fitted into, as published (0.x, default), or "
        "the picture's own (1.x)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the published ones, or their address")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--device", metavar="DEVICE", help="such as cpu or cuda:1 (default: a GPU if there is one)")
    parser.add_argument("--out", type=Path, metavar="LOG", help="add a record to this JSON-lines file")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps an interrupted run (default: in the cache)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from segzoo.errors import OptionError
    from segzoo.evaluation.accuracy import evaluate
    from segzoo.evaluation.processes import first
    from segzoo.records import append

    state = _default_state() if args.state is None else args.state
    if args.state is not None and args.state.is_dir():
        raise OptionError(f"--state {args.state} is a folder; name a file")
    found = evaluate(
        args.name,
        args.data,
        dataset=args.dataset,
        split=args.split,
        tta=args.tta_protocol if args.tta else None,
        limit=args.limit,
        weights=args.weights,
        precision=args.precision,
        device=args.device,
        state=state,
        progress=not args.quiet,
    )
    if first():
        print(f"{found.entry} on {found.dataset} {found.split}: {found.pictures} pictures, {found.protocol}\n")
        print(found.table())
        if args.out is not None:
            append(args.out, found.record())
            print(f"recorded in {args.out}", file=sys.stderr)
    return 0


def _default_state() -> Path | None:
    """The folder of the cache that keeps interrupted runs; None where it cannot be written."""
    from segzoo.weights.store import cache_directory

    folder = cache_directory() / "evaluations"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"segzoo: an interrupted run will not go on: {folder}: {error.strerror}", file=sys.stderr)
        return None
    return folder
