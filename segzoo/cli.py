"""The ``segzoo`` command.

``list`` and ``info`` live here; the other commands are added by the part of the package that does
the work. Nothing imported here may import torch: a list of names is to appear at once.

Exit codes: 0 done, 1 an error that segzoo names in one message, 2 wrong usage, 130 interrupted, 141 nobody
reads the output any more.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import segzoo
from segzoo.describe import describe, size_text
from segzoo.errors import SegzooError
from segzoo.index import Entry, SortKey, default_index, find, list_models

__all__ = ["build_parser", "main"]

# Each has add_commands(subparsers); a command's namespace carries run(args) -> exit code.
_COMMAND_MODULES = (
    "segzoo.inference.commands",
    "segzoo.demo",
    "segzoo.weights.commands",
    "segzoo.datasets.commands",
    "segzoo.evaluation.commands",
    "segzoo.training.commands",
    "segzoo.benchmark.commands",
    "segzoo.tables.commands",
    "segzoo.export.commands",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; ``argv`` defaults to the process's own arguments."""
    try:
        parser = build_parser()
        args = parser.parse_args(argv)
        if "run" not in args:
            parser.print_help(sys.stderr)
            return 2
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # `segzoo list | head` is no fault; the interpreter's flush at exit must not complain of it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("segzoo: interrupted", file=sys.stderr)
        return 130
    except SegzooError as error:
        print(f"segzoo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"segzoo: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="segzoo",
        description="Semantic-segmentation models with their published weights, by name.",
        epilog=_example(
            "segzoo demo",
            "segzoo list --dataset cityscapes --sort mIoU",
            "segzoo predict street.jpg --model fastfcn_r50_jpu_psp_cityscapes --out street.png",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"segzoo {segzoo.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_list(subparsers)
    _add_info(subparsers)
    for name in _COMMAND_MODULES:
        importlib.import_module(name).add_commands(subparsers)
    return parser


def _example(*lines: str) -> str:
    return "\n".join(["examples:" if len(lines) > 1 else "example:", *(f"  {line}" for line in lines)])


# list


_COLUMNS: Mapping[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.name,
    "short": lambda entry: entry.short_name,
    "method": lambda entry: entry.method,
    "backbone": lambda entry: entry.backbone,
    "dataset": lambda entry: entry.dataset,
    "classes": lambda entry: entry.num_classes,
    "crop": lambda entry: size_text(entry.crop_size),
    "iterations": lambda entry: entry.iterations,
    "mode": lambda entry: entry.protocol.mode,
    "memory": lambda entry: entry.reported.train_memory_gb,
    "fps": lambda entry: None if entry.reported.inference is None else round(entry.reported.inference.fps, 2),
    "mIoU": lambda entry: entry.reported.metrics.get("mIoU"),
    "mIoU(ms+flip)": lambda entry: entry.reported.metrics.get("mIoU(ms+flip)"),
    "Dice": lambda entry: entry.reported.metrics.get("Dice"),
}
_DEFAULT_COLUMNS = "name,backbone,dataset,crop,iterations,mIoU,mIoU(ms+flip)"


def _column_list(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in _COLUMNS:
            raise argparse.ArgumentTypeError(f"no column {name!r}; there are {', '.join(_COLUMNS)}")
    return chosen


def _add_list(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "list",
        help="list the models, with their published figures",
        description="List the models that fit every filter.",
        epilog=_example(
            "segzoo list",
            "segzoo list 'pspnet_r50*' --dataset cityscapes --sort mIoU",
            "segzoo list --method fastfcn --columns name,fps,memory",
            "segzoo list --names --dataset ade20k",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, or text that a name contains")
    parser.add_argument("--method", help="such as PSPNet or deeplabv3+ (case and punctuation do not matter)")
    parser.add_argument("--backbone", help="such as R-50-D8, or a class such as ResNet")
    parser.add_argument("--dataset", help="such as cityscapes or ade20k")
    parser.add_argument(
        "--sort",
        choices=get_args(SortKey),
        default="name",
        help="best published figure first (default: name)",
    )
    parser.add_argument(
        "--columns",
        type=_column_list,
        default=_DEFAULT_COLUMNS,
        metavar="A,B",
        help=f"what to show, of {', '.join(_COLUMNS)} (default: {_DEFAULT_COLUMNS})",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--names", action="store_true", help="only the names, one a line")
    output.add_argument("--json", action="store_true", help="a JSON array with every column")
    parser.set_defaults(run=_run_list)


def _run_list(args: argparse.Namespace) -> int:
    names = list_models(args.pattern, method=args.method, backbone=args.backbone, dataset=args.dataset, sort=args.sort)
    rows = [{column: value(find(name)) for column, value in _COLUMNS.items()} for name in names]
    if args.json:
        print(json.dumps(rows, indent=2))
    elif not names:
        print(f"segzoo: no model fits; {_known_values()}", file=sys.stderr)
        return 1
    elif args.names:
        print("\n".join(names))
    else:
        _print_columns(args.columns, rows)
        print(f"{len(names)} models" if len(names) > 1 else "1 model", file=sys.stderr)
    return 0


def _known_values() -> str:
    entries = default_index().entries.values()
    methods = sorted({entry.method for entry in entries})
    used = sorted({entry.dataset for entry in entries})
    return f"methods: {', '.join(methods)}; data sets: {', '.join(used)}"


def _print_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print aligned columns: text to the left, figures to the right, ``-`` for what was not published."""
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    right = [any(isinstance(row[name], (int, float)) for row in rows) for name in columns]
    for line in [list(columns), *cells]:
        fields = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True))
        print("  ".join(fields).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


# info


def _add_info(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "info",
        help="show everything known of a model",
        description="Show a model's network, data set, test protocol, weights and published figures.",
        epilog=_example(
            "segzoo info fastfcn_r50_jpu_psp_cityscapes",
            "segzoo info pspnet_r50-d8_4xb2-40k_cityscapes-512x1024 --json",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="any of the model's names, a weight file's too")
    parser.add_argument("--json", action="store_true", help="the whole entry as a JSON object")
    parser.set_defaults(run=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    entry = find(args.name)
    if args.json:
        fields = dataclasses.asdict(entry)
        print(json.dumps({**fields, "names": entry.names, "classes": entry.classes}, indent=2))
        return 0
    print(describe(entry, max(72, min(shutil.get_terminal_size().columns, 120))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
