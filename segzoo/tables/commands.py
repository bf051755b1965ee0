"""``segzoo tables``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EXAMPLES = """\
examples:
  segzoo tables --write README.md ZOO.md
  segzoo tables --check README.md ZOO.md
  segzoo tables zoo --format csv > zoo.csv
  segzoo tables --import-log fastfcn_r50-d32_jpu_psp_512x1024_80k_cityscapes_20210928_053722.log.json
"""

# Enough of a diff to see what is stale: an entry's row may have a thousand characters.
_DIFF_LINES = 40
_DIFF_WIDTH = 160


def add_commands(subparsers: Any) -> None:
    """Add ``tables`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "tables",
        help="write or check the tables and plots of README.md and ZOO.md (for maintainers)",
        description="Generate the tables and plots from the index and the logs. Without an action tables are printed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="TABLE", help="which to print (default: all)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--write", nargs="+", type=Path, metavar="FILE", help="bring the tables and plots of these files up to date"
    )
    action.add_argument("--check", nargs="+", type=Path, metavar="FILE", help="fail, with a diff, if one is stale")
    action.add_argument(
        "--import-log", nargs="+", type=Path, metavar="FILE", help="add published OpenMMLab training logs to the logs"
    )
    parser.add_argument("--entry", metavar="NAME", help="whose log it is (default: told by the file's name)")
    parser.add_argument("--format", choices=("markdown", "csv", "html"), default="markdown", help="of what is printed")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="the measurements (default: benchmarks/logs)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from segzoo import tables
    from segzoo.errors import OptionError

    if args.names and (args.write or args.check or args.import_log):
        raise OptionError(f"{args.names[0]}: --write and --check do all tables of a document; name none")
    folder = args.logs or tables.default_logs()
    if args.import_log:
        return _import(args, folder)
    logs = tables.read_logs(folder)
    if args.write:
        for path in tables.write(args.write, logs):
            print(f"{path}: updated")
        return 0
    if args.check:
        return _check(args.check, tables.check(args.check, logs).splitlines())
    for name in args.names or tables.TABLES:
        text = tables.render(name, logs, args.format)
        print(text, end="" if args.format == "csv" and len(args.names) == 1 else "\n\n")
    return 0


def _check(files: list[Path], stale: list[str]) -> int:
    for line in stale[:_DIFF_LINES]:
        print(line[:_DIFF_WIDTH], file=sys.stderr)
    if len(stale) > _DIFF_LINES:
        print(f"... and {len(stale) - _DIFF_LINES} lines more", file=sys.stderr)
    if stale:
        print(f"segzoo: stale tables; run: segzoo tables --write {' '.join(map(str, files))}", file=sys.stderr)
    return int(bool(stale))


def _import(args: argparse.Namespace, folder: Path) -> int:
    from segzoo import records
    from segzoo.errors import OptionError
    from segzoo.tables.training_log import read_training_log
    from segzoo.tables.zoo import training_log

    if args.entry and len(args.import_log) > 1:
        raise OptionError("--entry goes with one log only")
    target = folder / "published_training.jsonl"
    for path in args.import_log:
        record = read_training_log(path, args.entry)
        records.append(target, record)
        print(f"{record['entry']}: {training_log(record)}; added to {target}")
    return 0
