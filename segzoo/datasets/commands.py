"""``segzoo draw-streets``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EXAMPLES = """\
examples:
  segzoo draw-streets streets/ --train 1000 --val 200
  segzoo draw-streets streets/ --train 500 --val 100 --size 1024x512 --seed 3
"""


def add_commands(subparsers: Any) -> None:
    """Add ``draw-streets`` to the command line. Imports neither NumPy nor torch."""
    parser = subparsers.add_parser(
        "draw-streets",
        help="draw a street-scene data set with exact labels",
        description="Draw street scenes and their label maps into the folder OUT, laid out as Cityscapes: "
        "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png. "
        "The same arguments always draw the same streets; pictures that are there already are passed over, so that "
        "an interrupted run goes on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder, made if it is not there")
    parser.add_argument("--train", type=int, default=500, metavar="N", help="training pictures (default: 500)")
    parser.add_argument("--val", type=int, default=100, metavar="N", help="validation pictures (default: 100)")
    parser.add_argument(
        "--size", type=_size, default=(256, 512), metavar="WxH", help="width x height (default: 512x256)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="number of the data set (default: 0)")
    parser.set_defaults(run=_run)


def _size(text: str) -> tuple[int, int]:
    """(height, width) from ``WIDTHxHEIGHT``."""
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 512x256")
    return int(match[2]), int(match[1])


def _run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from segzoo.datasets.drawn_streets import write

    pictures = write(args.out, train=args.train, val=args.val, size=args.size, seed=args.seed)
    count = sum(1 for _ in tqdm(pictures, total=args.train + args.val, desc="drawing", unit="picture"))
    print(f"{count} pictures with label maps in {args.out}")
    return 0
