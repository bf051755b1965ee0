"""All that the index knows of a model, as text for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from segzoo.index import Entry, ModuleSpec, dataset
from segzoo.recipe import HeadLoss, OptimizerSpec, Recipe, ScheduleSpec

__all__ = ["describe", "size_text"]

Fields = list[tuple[str, str]]

_EXPORT = {
    "dynamic": "onnx and torch_export; height and width may be left open",
    "fixed": "onnx and torch_export, at a fixed size",
    "none": "not possible",
}


def describe(entry: Entry, width: int = 100) -> str:
    """Every field of an entry, under headings, in lines of at most ``width`` characters where words allow."""
    name = entry.short_name or entry.name
    use = [
        ("python", f"segzoo.load({name!r})"),
        ("command", f"segzoo predict PICTURE --model {name} --out mask.png"),
    ]
    sections = {
        "model": _identity(entry),
        "network": _network(entry),
        "training": _training(entry),
        "test protocol": _protocol(entry),
        "published figures": _published(entry),
        "weights": _weights(entry),
        "use": use,
    }
    label = max(len(name) for fields in sections.values() for name, _ in fields)
    blocks = []
    for title, fields in sections.items():
        lines = [title]
        for name, value in fields:
            head = f"  {name.ljust(label)}  "
            lines += textwrap.wrap(
                value,
                width,
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def size_text(size: tuple[int, int] | None) -> str | None:
    """A pair of lengths as ``512x1024``; None stays None."""
    return None if size is None else "x".join(map(str, size))


def _identity(entry: Entry) -> Fields:
    data = dataset(entry.dataset)
    fields = [("name", entry.name)]
    fields += [("also known as", name) for name in entry.names[1:]]
    fields += [
        ("method", entry.method),
        ("paper", f"{entry.paper.title} ({entry.paper.url})"),
        ("data set", f"{data.title} ({entry.dataset})"),
        ("classes", f"{entry.num_classes}: {', '.join(entry.classes)}"),
    ]
    return fields + ([("note", entry.note)] if entry.note else [])


def _module(spec: ModuleSpec) -> str:
    arguments = (
        f"{key}={_module(value) if isinstance(value, ModuleSpec) else value}" for key, value in spec.arguments.items()
    )
    return f"{spec.type}({', '.join(arguments)})"


def _network(entry: Entry) -> Fields:
    architecture = entry.architecture
    parts: list[tuple[str, ModuleSpec | tuple[ModuleSpec, ...] | None]] = [
        ("backbone", architecture.backbone),
        ("neck", architecture.neck),
        ("decode head", architecture.decode_head),
        ("auxiliary head", architecture.auxiliary_head),
    ]
    fields = [("published as", entry.backbone)]
    for label, part in parts:
        specs = part if isinstance(part, tuple) else (part,)
        fields += [(label, _module(spec)) for spec in specs if spec is not None]
    return [*fields, ("align_corners", str(entry.align_corners).lower()), ("export", _EXPORT[architecture.export])]


def _training(entry: Entry) -> Fields:
    recipe = entry.recipe
    known = {
        "crop": size_text(entry.crop_size),
        "iterations": entry.iterations,
        "batch size": recipe.batch_size if recipe else entry.batch_size,
        **(_recipe(recipe) if recipe else {"precision": "mixed" if entry.mixed_precision else "float32"}),
        "hardware": entry.reported.train_hardware,
        "memory": None if entry.reported.train_memory_gb is None else f"{entry.reported.train_memory_gb:g} GB a GPU",
        "log": entry.reported.log,
    }
    return [(label, str(value)) for label, value in known.items() if value is not None]


def _recipe(recipe: Recipe) -> dict[str, str | None]:
    """The recipe in a few lines; ``--json`` shows every field."""
    augmentation = recipe.augmentation
    low, high = augmentation.ratio_range
    size = "" if augmentation.scale is None else f" of {size_text(augmentation.scale)}"
    steps = [f"scale {low:g} to {high:g}{size}", f"crop with a class at most {augmentation.cat_max_ratio:.0%}"]
    steps += [f"flip {augmentation.flip:g}"] if augmentation.flip else []
    steps += ["photometric distortion"] if augmentation.photometric else []
    extras = [] if recipe.clip_norm is None else [f"gradients clipped to {recipe.clip_norm:g}"]
    extras += [] if recipe.accumulate == 1 else [f"gradients of {recipe.accumulate} passes a step"]
    return {
        "starts from": recipe.backbone_weights or "random weights",
        "optimizer": ", ".join([_optimizer(recipe.optimizer), *extras]),
        "schedule": _schedule(recipe.schedule),
        "augmentation": ", ".join(steps),
        "losses": _losses(recipe.losses.decode),
        "auxiliary losses": _losses(recipe.losses.auxiliary),
        "precision": recipe.precision,
    }


def _optimizer(spec: OptimizerSpec) -> str:
    text = f"{spec.name}, learning rate {spec.lr:g}, weight decay {spec.weight_decay:g}"
    if spec.name == "SGD":
        text += f", momentum {spec.momentum:g}"
    for group in spec.groups:
        factors = [f"rate x {group.lr:g}"] if group.lr != 1 else []
        factors += [f"decay x {group.weight_decay:g}"] if group.weight_decay != 1 else []
        text += f"; {group.match}: {', '.join(factors)}"
    if spec.layer_decay is not None:
        text += f"; rate x {spec.layer_decay.rate:g} a {spec.layer_decay.kind} towards the input"
    return text


def _schedule(spec: ScheduleSpec) -> str:
    if spec.policy == "poly":
        text = f"poly, power {spec.power:g}, to {spec.min_lr:g}"
    elif spec.policy == "step":
        text = f"x {spec.gamma:g} at {', '.join(map(str, spec.steps))}"
    else:
        text = "constant"
    return text if spec.warmup is None else f"{text}; {spec.warmup} warm-up over {spec.warmup_iterations}"


def _losses(heads: Sequence[HeadLoss]) -> str:
    """Each head's losses with their weights; said once where all heads have the same."""
    texts = []
    for head in heads:
        terms = " + ".join(f"{term.weight:g} x {term.name.replace('_', ' ')}" for term in head.terms)
        texts.append(terms if head.hard_pixels is None else f"{terms} of the hardest pixels")
    return "; ".join(texts)


def _protocol(entry: Entry) -> Fields:
    protocol = entry.protocol
    if protocol.scale is None:
        resize = "none"
    elif protocol.keep_ratio:
        resize = f"long side at most {max(protocol.scale)}, short side at most {min(protocol.scale)}, ratio kept"
    else:
        resize = f"to {size_text(protocol.scale)}, ratio not kept"
    if protocol.size_divisor:
        resize += f"; then each side up to a multiple of {protocol.size_divisor}"
    windows = "whole picture"
    if protocol.mode == "slide":
        windows = f"windows of {size_text(protocol.crop_size)}, stride {size_text(protocol.stride)}"
    return [
        ("resize", resize),
        ("mean (RGB)", ", ".join(f"{value:g}" for value in protocol.mean)),
        ("std (RGB)", ", ".join(f"{value:g}" for value in protocol.std)),
        ("mode", windows),
    ]


def _published(entry: Entry) -> Fields:
    fields = [(name, f"{value:g}") for name, value in entry.reported.metrics.items()]
    inference = entry.reported.inference
    if inference is not None:
        how = f"{inference.hardware}, {inference.precision}, {size_text(inference.resolution)}"
        fields.append(("speed", f"{inference.fps:.2f} pictures a second, {inference.ms:g} ms each ({how})"))
    return fields or [("figures", "none")]


def _weights(entry: Entry) -> Fields:
    weights = entry.weights
    fields = [("address" if i == 0 else "or", address) for i, address in enumerate(weights.addresses)]
    if weights.sha256:
        fields.append(("sha256", weights.sha256))
    elif weights.sha256_prefix:
        fields.append(("sha256", f"begins with {weights.sha256_prefix}, by the file's name"))
    return fields + ([("size", f"{weights.size:,} bytes")] if weights.size else [])
