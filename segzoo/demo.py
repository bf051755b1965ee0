"""``segzoo demo``: the embedded model on a street that a program draws, with no network."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from segzoo.inference.result import Segmentation

__all__ = ["add_commands", "demonstrate"]

_MODEL = "fast_scnn_drawn_streets"
_SIZE = (512, 1024)
_FIRST_SEED = 900_000_000  # far from every street that the model was trained on or measured with
_BAR = 36  # characters of the longest bar

_EXAMPLES = """\
examples:
  segzoo demo
  segzoo demo --seed 7 --out /tmp/street
"""


def add_commands(subparsers: Any) -> None:
    """Add ``demo`` to the command line. Imports neither NumPy nor torch."""
    parser = subparsers.add_parser(
        "demo",
        help="segment a drawn street with the embedded model; needs no network",
        description="Draw a street that the embedded model has never seen, segment it, and write the picture, the "
        "mask and an overlay with a legend.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("segzoo_demo"), metavar="DIR", help="folder (default: segzoo_demo)"
    )
    parser.add_argument("--seed", type=int, default=12, metavar="S", help="which street: 0 or more (default: 12)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    demonstrate(args.out, args.seed)
    return 0


def demonstrate(out: Path, seed: int = 12) -> Segmentation:
    """Draw a street, segment it, write ``street.png``, ``mask.png`` and ``overlay.png`` into `out`, and report.

    Args:
        out: folder, made if it is not there.
        seed: which street, 0 or more.

    Raises:
        OptionError: the seed is below 0.
        OSError: the folder cannot be written.
    """
    from PIL import Image

    import segzoo
    from segzoo.datasets.drawn_streets import draw
    from segzoo.errors import OptionError

    if seed < 0:
        raise OptionError(f"seed={seed}: give 0 or more")
    out.mkdir(parents=True, exist_ok=True)
    picture, truth = draw(_FIRST_SEED + seed, _SIZE)
    started = time.perf_counter()
    model = segzoo.load(_MODEL)
    loaded = time.perf_counter()
    result = model.predict(picture)
    done = time.perf_counter()
    Image.fromarray(picture).save(out / "street.png")
    result.save(out / "mask.png")
    result.save(out / "overlay.png", "overlay", legend=True)
    print(f"{_MODEL} on a drawn street it has never seen, {_SIZE[1]} x {_SIZE[0]}, on {model.device}:\n")
    _print_shares(result)
    print(f"\nright on {_agreement(result, truth):.1%} of the pixels; the drawing program knows the truth")
    print(f"loaded in {loaded - started:.2f} s, segmented in {done - loaded:.2f} s")
    print(f"{out}: street.png, mask.png, overlay.png")
    return result


def _print_shares(result: Segmentation) -> None:
    """Print each class's share of the picture, the largest first, with a bar."""
    counts = result.counts()
    width = max(len(name) for name in counts)
    largest = max(counts.values())
    for name, pixels in counts.items():
        bar = "█" * max(1, round(_BAR * pixels / largest))
        print(f"  {name:<{width}}  {pixels / result.mask.size:6.1%}  {bar}")


def _agreement(result: Segmentation, truth: np.ndarray) -> float:
    """Share of pixels whose class is the true one."""
    return float((result.mask == truth).mean())
