"""``segzoo predict``."""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from segzoo.inference.optimized import OptimizedModel
    from segzoo.inference.result import Segmentation
    from segzoo.inference.stream import Outcome
    from segzoo.model import Model

__all__ = ["add_commands"]

_WORTH_PREPARING = 8  # pictures, from which on preparing the model takes less time than it saves

_EXAMPLES = """\
examples:
  segzoo predict street.jpg --model fastfcn_r50_jpu_psp_cityscapes --out street.png
  segzoo predict street.jpg --model pspnet_r50_cityscapes --kind overlay --legend --out shown.jpg
  segzoo predict pictures/ --model fast_scnn_cityscapes --out masks/
  segzoo predict 'drive/**/*.png' --model pspnet_r50_cityscapes --mode slide --crop 769 --stride 513 --out masks/
  segzoo predict scene.tif --model pspnet_r50_loveda --tiled --crop 1024 --stride 768 --out scene_classes.tif
"""


def add_commands(subparsers: Any) -> None:
    """Add ``predict`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "predict",
        help="segment pictures",
        description="Segment a picture, several, a folder or a pattern, as the model was tested. One picture is "
        "written to the file --out; several to the folder --out, where pictures whose result is there already are "
        "passed over, so that an interrupted run goes on. Exit code 1 if a picture could not be used.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="PICTURE", help="a file, a folder or a quoted pattern")
    parser.add_argument("--model", required=True, metavar="NAME", help="any of the model's names: see segzoo list")
    parser.add_argument("--out", metavar="PATH", help="file or folder (default: NAME_mask.png; several: predictions/)")
    parser.add_argument("--weights", metavar="FILE", help="weights other than the published ones, or their address")
    _add_protocol(parser)
    _add_output(parser)
    parser.set_defaults(run=_run)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol (default: the model's own)")
    group.add_argument("--mode", choices=("whole", "slide"), help="the whole picture at once, or sliding windows")
    group.add_argument("--crop", type=_pair, metavar="HxW", help="size of the windows, such as 769 or 512x1024")
    group.add_argument("--stride", type=_pair, metavar="HxW", help="step between the windows")
    group.add_argument("--scales", type=_ratios, metavar="A,B", help="average over sizes, such as 0.5,1.0,1.5")
    group.add_argument("--flip", action="store_true", help="average with the mirrored picture")
    group.add_argument(
        "--resize", type=_resize, default="entry", metavar="LxS", help="fit into long x short side; none: keep the size"
    )
    group.add_argument("--threshold", type=float, metavar="P", help="of models with a single channel (0.3)")
    group.add_argument("--batch-size", type=int, metavar="N", help="windows that go through the network at once")
    group.add_argument(
        "--as-published", action="store_true", help="do not prepare the network, which rounds otherwise but is faster"
    )
    group.add_argument("--device", metavar="DEVICE", help="such as cpu or cuda:1 (default: a GPU if there is one)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--kind",
        choices=("mask", "colour", "overlay"),
        default="mask",
        help="class numbers with a palette, plain colours, or the picture under them (default: mask)",
    )
    group.add_argument(
        "--alpha", type=float, default=0.5, metavar="A", help="weight of the colours in an overlay (0.5)"
    )
    group.add_argument("--legend", action="store_true", help="name the classes beside an overlay")
    group.add_argument("--overwrite", action="store_true", help="also redo pictures whose result is there already")
    group.add_argument(
        "--tiled", action="store_true", help="a raster larger than memory, to GeoTIFF (needs segzoo[geo])"
    )
    group.add_argument("--quiet", action="store_true", help="print problems only")


def _pair(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:[x,](\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 769 or 512x1024")
    return int(match[1]), int(match[2] or match[1])


def _resize(text: str) -> tuple[int, int] | str | None:
    if text == "none":
        return None
    return text if text == "entry" else _pair(text)


def _ratios(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of ratios such as 0.5,1.0,1.5") from None


def _run(args: argparse.Namespace) -> int:
    from segzoo.inference import stream

    if args.tiled:
        return _run_tiled(args)
    found = stream.collect(args.inputs)
    several = len(found) > 1 or Path(args.inputs[0]).is_dir()
    if several:
        jobs = stream.plan(found, Path(args.out or "predictions"))
    else:
        source = found[0][0]
        jobs = [stream.Job(source, Path(args.out or f"{source.stem}_{args.kind}.png"))]
        if jobs[0].target.is_dir():
            jobs = stream.plan(found, jobs[0].target)
    model = _load(args, prepare=len(jobs) >= _WORTH_PREPARING)
    outcomes = stream.run(
        jobs,
        functools.partial(_segment, model, args),
        functools.partial(_save, args),
        overwrite=args.overwrite or not several,  # one picture that was asked for by name is always made
    )
    return _report(outcomes, len(jobs), args, several)


def _run_tiled(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from segzoo.errors import OptionError
    from segzoo.inference.raster import predict_raster

    if len(args.inputs) != 1 or not args.out:
        raise OptionError("--tiled takes one raster, and the GeoTIFF to write as --out")
    if args.scales or args.flip or args.resize not in ("entry", None) or args.kind != "mask" or args.mode == "whole":
        raise OptionError("--tiled slides over the raster at its own size and writes classes: leave out the rest")
    with tqdm(unit="row", disable=True if args.quiet else None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        predict_raster(
            _load(args, prepare=True),
            args.inputs[0],
            args.out,
            crop_size=args.crop,
            stride=args.stride,
            threshold=args.threshold,
            batch_size=args.batch_size,
            progress=progress,
        )
    return 0


def _load(args: argparse.Namespace, *, prepare: bool) -> Model | OptimizedModel:
    import torch

    import segzoo

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = segzoo.load(args.model, weights=args.weights, device=device)
    return model.optimize() if prepare and not args.as_published else model


def _segment(model: Model | OptimizedModel, args: argparse.Namespace, pixels: np.ndarray) -> Segmentation:
    return model.predict(
        pixels,
        args.mode,
        crop_size=args.crop,
        stride=args.stride,
        scales=args.scales,
        flip=args.flip,
        resize=args.resize,
        threshold=args.threshold,
        batch_size=args.batch_size,
    )


def _save(args: argparse.Namespace, result: Segmentation, path: Path) -> None:
    result.save(path, args.kind, alpha=args.alpha, legend=args.legend)


def _report(outcomes: Iterator[Outcome], total: int, args: argparse.Namespace, several: bool) -> int:
    from tqdm import tqdm

    failed: list[Outcome] = []
    number = {"done": 0, "kept": 0, "failed": 0}
    bar = tqdm(outcomes, total=total, unit="picture", disable=True if args.quiet or not several else None)
    for outcome in bar:
        number[outcome.status] += 1
        if outcome.status == "failed":
            failed.append(outcome)
        elif not several and not args.quiet and outcome.counts:
            pixels = sum(outcome.counts.values())
            shares = [f"{name} {count / pixels:.1%}" for name, count in outcome.counts.items()]
            print(f"{outcome.job.target}: {', '.join(shares)}")
    if several and not args.quiet:
        folder = args.out or "predictions"
        print(f"{number['done']} written to {folder}, {number['kept']} there already, {len(failed)} failed")
    for outcome in failed:
        print(f"segzoo: {outcome.reason}", file=sys.stderr)
    return 1 if failed else 0
