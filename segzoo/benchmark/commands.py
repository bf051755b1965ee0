"""``segzoo benchmark``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.benchmark.conditions import Conditions
    from segzoo.benchmark.processes import Outcome

__all__ = ["add_commands", "add_conditions", "chosen", "conditions_of", "default_device"]

_EXAMPLES = """\
examples:
  segzoo benchmark fast_scnn_drawn_streets
  segzoo benchmark 'pspnet_r50*cityscapes' --device cuda --log benchmarks/logs/speed.jsonl
  segzoo benchmark pspnet_r101_d8_512x1024_80k_cityscapes --training --device cuda
  segzoo benchmark fcn_r50_ade20k --size 512x683 --images 20
"""


def add_commands(subparsers: Any) -> None:
    """Add ``benchmark`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure speed and memory of models",
        description="Measure models as the published tables do: batch 1, cuDNN's benchmark off, 200 pictures of which "
        "the first 5 do not count; the model-zoo definition of the time (forward and post-processing) and the older "
        "one that includes transfer. Beside them the first call, throughput by batch size, peak memory, operations and "
        "parameters. Each model is measured in a process of its own, on made pictures. Exit code 1 if one failed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="any name of a model, or a quoted pattern")
    add_conditions(parser)
    parser.add_argument("--log", type=Path, metavar="FILE", help="append the records to this JSON-lines file")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for each model (default: none)")
    parser.set_defaults(run=_run)


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured."""
    group = parser.add_argument_group("conditions (default: those of the published tables)")
    group.add_argument("--training", action="store_true", help="measure training steps instead of inference")
    group.add_argument("--cost", action="store_true", help="only count operations and parameters, which runs nothing")
    group.add_argument("--device", metavar="DEVICE", help="such as cpu or cuda:1 (default: a GPU if there is one)")
    group.add_argument(
        "--size", type=_size, metavar="HxW", help="of the pictures (default: as tested; in training, the crop)"
    )
    group.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    group.add_argument("--images", type=int, metavar="N", help="pictures, or training steps (200; in training 55)")
    group.add_argument("--not-counted", type=int, default=5, metavar="N", help="of these, the first that only warm up")
    group.add_argument(
        "--batch-sizes",
        type=_numbers,
        metavar="A,B",
        help="for throughput (default: 1,2,4,8); in training, pictures of a step (as published)",
    )
    group.add_argument("--prepared", action="store_true", help="measure model.optimize()")
    group.add_argument("--pretrained", action="store_true", help="with the published weights (default: random ones)")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not height x width, such as 512x1024")
    return int(match[1]), int(match[2])


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,4")
    return tuple(int(part) for part in text.split(","))


def chosen(names: Sequence[str]) -> list[str]:
    """Canonical names that names and patterns mean, each once, in order.

    Raises:
        UnknownNameError, AmbiguousNameError: a name means no entry or several, or a pattern fits none.
    """
    from segzoo.errors import UnknownNameError
    from segzoo.index import find, list_models

    found: dict[str, None] = {}
    for name in names:
        if any(mark in name for mark in "*?["):
            fitting = list_models(name)
            if not fitting:
                raise UnknownNameError(f"no model's name fits {name!r}; segzoo list shows them all")
            found.update(dict.fromkeys(fitting))
        else:
            found[find(name).name] = None
    return list(found)


def conditions_of(name: str, args: argparse.Namespace, device: str) -> Conditions:
    """The conditions that the options of :func:`add_conditions` mean for an entry."""
    from segzoo.benchmark.conditions import (
        InferenceConditions,
        TrainingConditions,
        published_batch_size,
        tested_size,
    )
    from segzoo.errors import OptionError
    from segzoo.index import find

    entry = find(name)
    if args.training:
        if args.prepared or args.pretrained:
            raise OptionError("--prepared and --pretrained are for inference; leave them out with --training")
        if args.batch_sizes and len(args.batch_sizes) > 1:
            raise OptionError("--batch-sizes takes one number with --training")
        (batch_size,) = args.batch_sizes or (published_batch_size(entry),)
        size = args.size or entry.crop_size or tested_size(entry)
        return TrainingConditions(
            name, size, device, args.dtype, batch_size, args.images or 50 + args.not_counted, args.not_counted
        )
    return InferenceConditions(
        name,
        args.size or tested_size(entry),
        device,
        args.dtype,
        args.images or 200,
        args.not_counted,
        args.batch_sizes or (1, 2, 4, 8),
        args.prepared,
        args.pretrained,
    )


def default_device(device: str | None) -> str:
    """The device asked for; else a GPU if there is one."""
    if device:
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from segzoo import records
    from segzoo.benchmark import processes

    if args.cost:
        return _run_cost(args)
    device = default_device(args.device)
    todo = [conditions_of(name, args, device) for name in chosen(args.names)]
    failed = 0
    for conditions in todo:
        with tqdm(unit="picture", desc=conditions.name, disable=None, leave=False) as bar:

            def progress(what: str, bar: Any = bar) -> None:
                bar.set_postfix_str(what, refresh=False)
                bar.update()

            outcome = processes.measure(conditions, timeout=args.time_limit, progress=progress)
        found = list(outcome.records)
        if outcome.reason:
            failed += 1
            found.append(processes.failure(conditions, outcome.reason))
        if args.log:
            for record in found:
                records.append(args.log, record)
        _print(conditions, outcome)
    return 1 if failed else 0


def _run_cost(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from segzoo import records
    from segzoo.benchmark import cost

    for name in tqdm(chosen(args.names), unit="model", disable=None):
        record = cost.measure(name, args.size)
        if args.log:
            records.append(args.log, record)
        tqdm.write(f"{record['entry']}: {_line(record)}")
    return 0


def _print(conditions: Conditions, outcome: Outcome) -> None:
    height, width = conditions.size
    print(f"{conditions.name}  {height}x{width} {conditions.dtype} on {conditions.device}")
    for record in outcome.records:
        print(f"  {_line(record)}")
    if outcome.reason:
        print(f"segzoo: {conditions.name}: {outcome.reason}", file=sys.stderr)


def _line(record: dict[str, Any]) -> str:
    kind = record["kind"]
    if kind == "speed":
        ms = record["ms"]
        label = {"model-zoo": "model-zoo definition", "with-transfer": "transfer included"}[record["definition"]]
        quartiles = f"median {ms['median']:.1f} ms, quartiles {ms['q1']:.1f} to {ms['q3']:.1f}"
        counted = f"{record['images']} pictures, {record['not_counted']} of them not counted"
        return f"{label:<22} {record['fps']:.2f} fps   {quartiles}; {counted}"
    if kind == "throughput":
        label = f"batch {record['batch_size']}"
        return f"{label:<22} {record['images_per_second']:.2f} pictures/s through the network"
    if kind == "training_speed":
        label = f"batch {record['batch_size']}"
        return f"{label:<22} {record['seconds_per_iteration']:.3f} s/iteration   median {record['s']['median']:.3f} s"
    if kind == "first_call":
        return f"{'first call':<22} {record['ms']:.1f} ms, after {record['loading_ms']:.1f} ms of loading"
    if kind == "cost":
        return f"{'cost':<22} {record['flops'] / 1e9:.1f} GFLOP, {record['parameters'] / 1e6:.2f} M parameters"
    label = {"max_memory_allocated": "memory allocated", "peak_resident_set": "peak resident set"}[record["measure"]]
    amount = "not known" if record["bytes"] is None else f"{record['bytes'] / 2**30:.2f} GB"
    return f"{label:<22} {amount}"
