"""``segzoo export``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EXAMPLES = """\
examples:
  segzoo export fast_scnn_cityscapes --format onnx --out fast_scnn.onnx --size 1024x2048
  segzoo export pspnet_r50_ade20k --format onnx --out pspnet.onnx --dynamic
  segzoo export pspnet_r50_ade20k --format torch_export --out pspnet.pt2 --weights work_dirs/iter_80000.pth
"""


def add_commands(subparsers: Any) -> None:
    """Add ``export`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX or as torch's exported program",
        description="Write a model's network as a file, run that, and tell by how much its logits differ. Input: "
        "float32 (N, 3, H, W), RGB, normalised; output: logits at the input's size. Classes, mean, deviation and "
        "protocol are stored in the file. `segzoo info NAME` tells whether sizes can be left open.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="any of the model's names: see segzoo list")
    parser.add_argument("--format", required=True, choices=("onnx", "torch_export"), help="kind of file")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--size", type=_size, metavar="HxW", help="size to trace at (default: the entry's crop)")
    parser.add_argument("--dynamic", action="store_true", help="leave height and width open")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="pictures at once (default: 1)")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the published ones, or their address")
    parser.set_defaults(run=_run)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512x1024")
    return int(match[1]), int(match[2])


def _run(args: argparse.Namespace) -> int:
    import segzoo
    from segzoo.export.exporting import export

    args.out.parent.mkdir(parents=True, exist_ok=True)
    model = segzoo.load(args.name, weights=args.weights)
    print(export(model, args.out, format=args.format, size=args.size, dynamic=args.dynamic, batch=args.batch))
    return 0
