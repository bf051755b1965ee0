"""``segzoo datasets`` and ``segzoo draw-streets``."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.index import Dataset

__all__ = ["add_commands"]

_STREET_EXAMPLES = """\
examples:
  segzoo draw-streets streets/ --train 1000 --val 200
  segzoo draw-streets streets/ --train 500 --val 100 --size 1024x512 --seed 3
"""


def add_commands(subparsers: Any) -> None:
    """Add ``datasets`` and ``draw-streets`` to the command line. Imports neither NumPy nor torch."""
    _add_datasets(subparsers)
    _add_draw_streets(subparsers)


# datasets


_DATASET_EXAMPLES = """\
examples:
  segzoo datasets
  segzoo datasets cityscapes
"""

_OWN = """\
folder: pictures of one's own (--dataset folder)

  images/SPLIT/NAME.png     pictures: png, jpg, bmp, tif or webp
  labels/SPLIT/NAME.png     one channel of class numbers from 0; 255 does not count
  classes.txt               a class a line, with its colour or without: road,#804080

Instead of folders SPLIT, lists SPLIT.txt of names without suffix; without either, the split is called all."""


def _add_datasets(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "datasets",
        help="list the data sets, or show where a data set's files lie",
        description="List the data sets that models are evaluated on, with folder and licence; or show one: its "
        "classes, its folders, where it is obtained and how it is prepared.",
        epilog=_DATASET_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a data set's key, or folder")
    parser.set_defaults(run=_run_datasets)


def _run_datasets(args: argparse.Namespace) -> int:
    from segzoo.index import dataset, datasets

    if args.name == "folder":
        print(_OWN)
    elif args.name is not None:
        print("\n".join(_shown(dataset(args.name))))
    else:
        rows = [("name", "classes", "folder", "licence, as its publishers state it")]
        rows += [(d.name, str(len(d.classes)), f"{d.layout.folder}/", d.licence) for d in datasets().values()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        print("\nPictures of one's own are read too: segzoo datasets folder")
    return 0


def _shown(data: Dataset) -> list[str]:
    """The lines that describe a data set."""
    text = textwrap.TextWrapper(
        width=100, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    lines = [f"{data.name}: {data.title}", ""]
    for split, parts in data.layout.splits.items():
        for part in parts:
            which = "" if part.names is None else f"   listed in {part.names}"
            lines.append(f"  {split:<6} {data.layout.folder}/{part.images}/*{data.layout.image_suffix}{which}")
            lines += [f"         {data.layout.folder}/{part.labels}/*{form.suffix}" for form in data.layout.labels]
    if len(data.layout.labels) > 1:
        lines += ["", *text.wrap("Of several label maps of a picture, the first of these counts.")]
    zero = "0 does not count and the classes begin at 1" if data.reduce_zero_label else "the classes begin at 0"
    lines += ["", *text.wrap(f"In label maps {zero}.")]
    lines += ["", *text.wrap(f"Obtained from: {data.source}"), *text.wrap(f"Licence: {data.licence}")]
    if data.preparation:
        lines += text.wrap(f"Preparation: {data.preparation}")
    return [*lines, *text.wrap(f"Classes: {', '.join(name.strip() for name in data.classes)}")]


# draw-streets


def _add_draw_streets(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "draw-streets",
        help="draw a street-scene data set with exact labels",
        description="Draw street scenes and their label maps into the folder OUT, laid out as Cityscapes: "
        "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png. "
        "The same arguments always draw the same streets; pictures that are there already are passed over, so that "
        "an interrupted run goes on.",
        epilog=_STREET_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder, made if it is not there")
    parser.add_argument("--train", type=int, default=500, metavar="N", help="training pictures (default: 500)")
    parser.add_argument("--val", type=int, default=100, metavar="N", help="validation pictures (default: 100)")
    parser.add_argument(
        "--size", type=_size, default=(256, 512), metavar="WxH", help="width x height (default: 512x256)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="number of the data set (default: 0)")
    parser.set_defaults(run=_run_draw_streets)


def _size(text: str) -> tuple[int, int]:
    """(height, width) from ``WIDTHxHEIGHT``."""
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 512x256")
    return int(match[2]), int(match[1])


def _run_draw_streets(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from segzoo.datasets.drawn_streets import write

    pictures = write(args.out, train=args.train, val=args.val, size=args.size, seed=args.seed)
    count = sum(1 for _ in tqdm(pictures, total=args.train + args.val, desc="drawing", unit="picture"))
    print(f"{count} pictures with label maps in {args.out}")
    return 0
