"""Make a training run's weight file the embedded model: ``python -m benchmarks.embed RUN/best.safetensors``.

Copies it into the package without the auxiliary heads, which only training uses, and prints the two lines that its
entry in ``model_index/drawn_streets.yaml`` needs. ``tests/evaluation/test_embedded_model.py`` then asks for a record of
its accuracy (CONTRIBUTING.md, "Add a figure").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

import segzoo
from segzoo.errors import OptionError
from segzoo.index import find
from segzoo.weights.conversion import write_safetensors

__all__ = ["embed", "main"]

ENTRY = "fast_scnn_drawn_streets"


def embed(source: Path, target: Path) -> tuple[str, int]:
    """Write ``source`` without auxiliary heads to ``target``; returns its sha256 and size in bytes.

    Raises:
        OptionError: the file was written for another entry.
    """
    with safe_open(source, "pt") as file:
        about = file.metadata() or {}
        if about.get("entry") != ENTRY:
            raise OptionError(f"{source} is of {about.get('entry')}, not of {ENTRY}")
        tensors = {key: file.get_tensor(key) for key in file.keys() if not key.startswith("auxiliary_head.")}  # noqa: SIM118
    sha256 = write_safetensors(target, tensors, about)
    return sha256, target.stat().st_size


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FILE", help="of a run of segzoo train --half")
    args = parser.parse_args(argv)
    assert segzoo.__file__
    sha256, size = embed(args.source, Path(segzoo.__file__).parent / "assets" / find(ENTRY).weights.filename)
    print(f"      sha256: {sha256}\n      size: {size}")


if __name__ == "__main__":
    main()
