"""``segzoo train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EXAMPLES = """\
examples:
  segzoo train fast_scnn_cityscapes --data data/cityscapes --out runs/fast_scnn
  segzoo train fast_scnn_cityscapes --data data/cityscapes --out runs/fast_scnn --resume
  segzoo train pspnet_r50_cityscapes --data data/cityscapes --out runs/psp --per-device 2 --precision bfloat16
  torchrun --nproc-per-node 4 -m segzoo train pspnet_r50_cityscapes --data data/cityscapes --out runs/psp
  segzoo train pspnet_r50_ade20k --data mine/ --dataset folder --weights published --freeze backbone \\
      --iterations 2000 --batch 8 --set optimizer.lr=0.002 --set augmentation.crop_size=[480,480] --out runs/mine

a run's folder holds recipe.yaml (the settings), log.jsonl, last.safetensors, best.safetensors (by mIoU) and state.pt.
The weight files load with segzoo.load(NAME, weights=FILE), and with --weights FILE in the other commands.
"""


def add_commands(subparsers: Any) -> None:
    """Add ``train`` to the command line. Imports no torch."""
    parser = subparsers.add_parser(
        "train",
        help="train or fine-tune a model by its recipe",
        description="Train a model by its recipe, on this process or on all that torchrun starts. Interrupted by "
        "SIGTERM or Ctrl-C it ends the step, saves and exits (143 or 130); --resume goes on with the same losses as "
        "if it had not stopped.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="any of the model's names: see segzoo list")
    parser.add_argument("--data", required=True, metavar="ROOT", help="the data set's folder")
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--dataset", metavar="KEY", help="data set, or folder (default: the model's own data set)")
    parser.add_argument("--resume", action="store_true", help="go on where the run in RUN stopped, if there is one")
    _add_recipe(parser)
    _add_start(parser)
    _add_manner(parser)
    parser.set_defaults(run=_run)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe (default: the model's own, from the index)")
    group.add_argument("--recipe", type=Path, metavar="FILE", help="a recipe, or a run's recipe.yaml")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="FIELD=VALUE",
        help="one setting, such as optimizer.lr=0.001 or clip_norm=1; may be repeated",
    )
    group.add_argument("--iterations", type=int, metavar="N", help="short for --set iterations=N")
    group.add_argument("--batch", type=int, metavar="N", help="pictures a step, over all devices: --set batch_size=N")
    group.add_argument("--precision", choices=("float32", "float16", "bfloat16"), help="short for --set precision=...")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="decides all that is random (default: 0)")


def _add_start(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("start (default: the recipe's backbone weights)")
    group.add_argument("--weights", metavar="FILE", help="a file, an address, or 'published' for the model's own")
    group.add_argument("--backbone-file", metavar="FILE", help="takes the recipe's backbone weights from this file")
    group.add_argument(
        "--num-classes", type=int, metavar="K", help="of the network: has to be the data set's, which is the default"
    )
    group.add_argument(
        "--freeze", type=_names, default=(), metavar="PART,...", help="parts left as they are: backbone.layer1,..."
    )


def _add_manner(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("manner")
    group.add_argument("--device", metavar="DEVICE", help="such as cpu or cuda:1 (default: a GPU if there is one)")
    group.add_argument(
        "--per-device", type=int, metavar="N", help="pictures at once; gradients are summed up to the batch"
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes that read pictures (default: a core less than there are)"
    )
    group.add_argument("--cache", action="store_true", help="keep decoded pictures in memory")
    group.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="memory layout (default: on a CPU as suits the network: yes for light ones, no where wide convolutions "
        "prevail; on a GPU in half precision)",
    )
    group.add_argument("--log-every", type=int, default=50, metavar="N", help="iterations (default: 50)")
    group.add_argument("--save-every", type=int, default=500, metavar="N", help="iterations (default: 500)")
    group.add_argument(
        "--evaluate-every", type=int, metavar="N", help="iterations, 0 for never (default: a tenth of the run)"
    )
    group.add_argument("--val-pictures", type=int, metavar="N", help="pictures of an evaluation (default: all)")
    group.add_argument("--half", action="store_true", help="write convolutions and matrices as float16")
    group.add_argument("--tensorboard", action="store_true", help="also log to RUN/tensorboard")
    group.add_argument("--quiet", action="store_true", help="print problems only")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _overrides(args: argparse.Namespace) -> list[str]:
    short = {"iterations": args.iterations, "batch_size": args.batch, "precision": args.precision}
    return [*args.overrides, *(f"{field}={value}" for field, value in short.items() if value is not None)]


def _run(args: argparse.Namespace) -> int:
    import os

    from segzoo.training.run import train
    from segzoo.training.settings import Manner, read_recipe

    manner = Manner(
        per_device=args.per_device,
        workers=args.workers,
        cache=args.cache,
        channels_last=args.channels_last,
        log_every=args.log_every,
        save_every=args.save_every,
        evaluate_every=args.evaluate_every,
        val_pictures=args.val_pictures,
        tensorboard=args.tensorboard,
        progress=not args.quiet,
    )
    outcome = train(
        args.name,
        args.data,
        args.out,
        dataset=args.dataset,
        recipe=None if args.recipe is None else read_recipe(args.recipe),
        overrides=_overrides(args),
        weights=args.weights,
        backbone_file=args.backbone_file,
        num_classes=args.num_classes,
        freeze=args.freeze,
        seed=args.seed,
        half=args.half,
        resume=args.resume,
        device=args.device,
        manner=manner,
    )
    if not args.quiet and os.environ.get("RANK", "0") == "0":
        if outcome.stopped_by is not None:
            print(f"stopped at step {outcome.iteration}; go on with --resume")
        elif outcome.best is None:
            print(f"{outcome.last}: {outcome.iteration} steps")
        else:
            print(f"{outcome.last}: {outcome.iteration} steps; best mIoU {outcome.mean_iou:.2f} in {outcome.best}")
    return 0 if outcome.stopped_by is None else 128 + outcome.stopped_by
