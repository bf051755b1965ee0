"""Reading ``model_index/``: YAML to dataclasses, every field checked, every fault named by file, entry and field."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from segzoo.errors import IndexSchemaError, RecipeError
from segzoo.index import (
    Architecture,
    Dataset,
    Entry,
    Inference,
    LabelForm,
    Layout,
    ModuleSpec,
    Paper,
    Protocol,
    Reported,
    SplitPart,
    Weights,
    scan_names,
)
from segzoo.recipe import Recipe

__all__ = ["read_backbones", "read_datasets", "read_entries"]

# libyaml's parser is ten times faster; wheels of PyYAML carry it, a build from source may not.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MISSING: Any = object()
_NUMBER = (int, float)


class _Fields:
    """A YAML mapping whose fields are taken one by one; what is left over, or of the wrong type, is an error."""

    def __init__(self, value: Any, where: str) -> None:
        self.where = where
        if not isinstance(value, Mapping):
            raise IndexSchemaError(f"{where}: expected a mapping, found {_describe(value)}")
        self.values = dict(value)

    def fault(self, name: str, problem: str) -> IndexSchemaError:
        return IndexSchemaError(f"{self.where}: field '{name}' {problem}")

    def take(self, name: str, kind: type | tuple[type, ...], default: Any = _MISSING) -> Any:
        if name not in self.values:
            if default is _MISSING:
                raise self.fault(name, "is missing")
            return default
        value = self.values.pop(name)
        if value is None and default is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            expected = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise self.fault(name, f"must be {expected}, not {_describe(value)}")
        return value

    def numbers(self, name: str, count: int, kind: type, default: Any = _MISSING) -> Any:
        value = self.take(name, list, default)
        if value is default:
            return default
        accepted = _NUMBER if kind is float else int
        if len(value) != count or not all(isinstance(v, accepted) and not isinstance(v, bool) for v in value):
            raise self.fault(name, f"must be {count} {kind.__name__} values, not {_describe(value)}")
        return tuple(kind(v) for v in value)

    def choice(self, name: str, table: Mapping[str, Any]) -> Any:
        key = self.take(name, str)
        if key not in table:
            raise self.fault(name, f"names {key!r}, which is not among {', '.join(table) or 'none'}")
        return table[key]

    def sub(self, name: str, default: Any = _MISSING) -> _Fields:
        return _Fields(self.take(name, Mapping, default), f"{self.where}.{name}")

    def subs(self, name: str) -> list[_Fields]:
        items = self.take(name, list)
        if not items:
            raise self.fault(name, "is an empty list")
        return [_Fields(item, f"{self.where}.{name}[{i}]") for i, item in enumerate(items)]

    def done(self) -> None:
        if self.values:
            raise self.fault(str(next(iter(self.values))), "is unknown")


def _describe(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), Loader=_Loader)
    except yaml.YAMLError as error:
        raise IndexSchemaError(f"{path.name}: not valid YAML: {error}") from error


def _module(value: Any, where: str) -> ModuleSpec:
    fields = _Fields(value, where)
    kind = fields.take("type", str)
    # A part may hold another, as K-Net's head holds the head that makes its first kernels.
    arguments = {
        key: _module(argument, f"{where}.{key}") if isinstance(argument, Mapping) else argument
        for key, argument in fields.values.items()
    }
    return ModuleSpec(kind, arguments)


def _modules(value: Any, where: str) -> ModuleSpec | tuple[ModuleSpec, ...]:
    if isinstance(value, list):
        return tuple(_module(item, f"{where}[{i}]") for i, item in enumerate(value))
    return _module(value, where)


def _architecture(name: str, value: Any, where: str) -> Architecture:
    fields = _Fields(value, where)
    parts = (dict, list)
    neck = fields.take("neck", dict, None)
    auxiliary = fields.take("auxiliary_head", parts, None)
    export = fields.take("export", str, "dynamic")
    if export not in ("dynamic", "fixed", "none"):
        raise fields.fault("export", f"must be 'dynamic', 'fixed' or 'none', not {export!r}")
    architecture = Architecture(
        name=name,
        backbone=_module(fields.take("backbone", dict), f"{where}.backbone"),
        neck=None if neck is None else _module(neck, f"{where}.neck"),
        decode_head=_modules(fields.take("decode_head", parts), f"{where}.decode_head"),
        auxiliary_head=None if auxiliary is None else _modules(auxiliary, f"{where}.auxiliary_head"),
        export=export,
    )
    fields.done()
    return architecture


def _protocol(value: Any, where: str) -> Protocol:
    fields = _Fields(value, where)
    mode = fields.take("mode", str)
    if mode not in ("whole", "slide"):
        raise fields.fault("mode", f"must be 'whole' or 'slide', not {mode!r}")
    protocol = Protocol(
        mean=fields.numbers("mean", 3, float),
        std=fields.numbers("std", 3, float),
        mode=mode,
        scale=fields.numbers("scale", 2, int, None),
        keep_ratio=fields.take("keep_ratio", bool, True),
        size_divisor=fields.take("size_divisor", int, None),
        crop_size=fields.numbers("crop_size", 2, int, None),
        stride=fields.numbers("stride", 2, int, None),
    )
    fields.done()
    if (mode == "slide") != (protocol.crop_size is not None and protocol.stride is not None):
        raise fields.fault("mode", "'slide' needs crop_size and stride, 'whole' takes neither")
    return protocol


def _weights(fields: _Fields) -> Weights:
    addresses = fields.take("addresses", list)
    if not addresses or not all(isinstance(a, str) and a for a in addresses):
        raise fields.fault("addresses", "must be a list of one or more addresses")
    sha256 = fields.take("sha256", str, None)
    prefix = fields.take("sha256_prefix", str, None)
    for name, value, digits in (("sha256", sha256, 64), ("sha256_prefix", prefix, 8)):
        if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
            raise fields.fault(name, f"must be {digits} hexadecimal digits in quotes, not {_describe(value)}")
    size = fields.take("size", int, None)
    fields.done()
    return Weights(tuple(addresses), sha256, prefix, size)


def _reported(fields: _Fields) -> Reported:
    metrics = fields.take("metrics", dict, {})
    for name, value in metrics.items():
        if not isinstance(value, _NUMBER):
            raise fields.fault(f"metrics.{name}", f"must be a number, not {_describe(value)}")
    inference = None
    if "inference" in fields.values:
        sub = fields.sub("inference")
        inference = Inference(
            ms=float(sub.take("ms", _NUMBER)),
            hardware=sub.take("hardware", str),
            precision=sub.take("precision", str),
            resolution=sub.numbers("resolution", 2, int),
        )
        sub.done()
    reported = Reported(
        metrics={name: float(value) for name, value in metrics.items()},
        train_memory_gb=fields.take("train_memory_gb", _NUMBER, None),
        inference=inference,
        train_hardware=fields.take("train_hardware", str, None),
        log=fields.take("log", str, None),
    )
    fields.done()
    return reported


def _base_recipe(value: Any, where: str) -> Recipe:
    """One of a file's recipes, which the entries complete by their length, crop and batch."""
    try:
        return Recipe.from_dict({"iterations": 1, "batch_size": 1, **_Fields(value, where).values})
    except RecipeError as error:
        raise IndexSchemaError(f"{where}: {error}") from error


def _recipe(
    fields: _Fields,
    recipes: Mapping[str, Recipe],
    iterations: int | None,
    batch_size: int | None,
    crop_size: tuple[int, int] | None,
) -> Recipe | None:
    """The entry's recipe: a recipe of the file with the entry's length, crop and batch, and what it overrides."""
    if "recipe" not in fields.values:
        return None
    own = fields.sub("recipe")
    base = own.choice("base", recipes)
    value = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    for name, number in (("iterations", iterations), ("batch_size", batch_size)):
        if number is not None:
            value[name] = number
        elif name not in own.values:
            raise own.fault(name, "is missing, and the entry has none either")
    try:
        if crop_size is not None:
            value["augmentation"] = dataclasses.replace(base.augmentation, crop_size=crop_size)
        return Recipe.from_dict({**value, **own.values})
    except RecipeError as error:
        raise IndexSchemaError(f"{own.where}: {error}") from error


def _entry(
    name: str,
    fields: _Fields,
    method: str,
    paper: Paper,
    architectures: Mapping[str, Architecture],
    protocols: Mapping[str, Protocol],
    recipes: Mapping[str, Recipe],
) -> Entry:
    aliases = fields.take("aliases", list, [])
    if not all(isinstance(alias, str) for alias in aliases):
        raise fields.fault("aliases", "must be a list of names")
    crop_size = fields.numbers("crop_size", 2, int, None)
    iterations = fields.take("iterations", int, None)
    batch_size = fields.take("batch_size", int, None)
    entry = Entry(
        name=name,
        method=method,
        paper=paper,
        architecture=fields.choice("architecture", architectures),
        backbone=fields.take("backbone", str),
        dataset=fields.take("dataset", str),
        num_classes=fields.take("num_classes", int),
        align_corners=fields.take("align_corners", bool),
        protocol=fields.choice("protocol", protocols),
        weights=_weights(fields.sub("weights")),
        reported=_reported(fields.sub("reported", {})),
        short_name=fields.take("short_name", str, None),
        aliases=tuple(aliases),
        crop_size=crop_size,
        iterations=iterations,
        batch_size=batch_size,
        mixed_precision=fields.take("mixed_precision", bool, False),
        note=fields.take("note", str, None),
        recipe=_recipe(fields, recipes, iterations, batch_size, crop_size),
    )
    fields.done()
    return entry


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of one method's file.

    Raises:
        IndexSchemaError: the file is not YAML, or a field is missing, unknown or of the wrong type.
    """
    scanned = scan_names(path.read_text(encoding="utf-8"))
    file = _Fields(_read_yaml(path), path.name)
    method = file.take("method", str)
    sub = file.sub("paper")
    paper = Paper(sub.take("title", str), sub.take("url", str))
    sub.done()
    protocols = {
        label: _protocol(value, f"{path.name}: protocols.{label}")
        for label, value in file.take("protocols", dict).items()
    }
    architectures = {
        label: _architecture(label, value, f"{path.name}: architectures.{label}")
        for label, value in file.take("architectures", dict).items()
    }
    recipes = {
        label: _base_recipe(value, f"{path.name}: recipes.{label}")
        for label, value in file.take("recipes", dict, {}).items()
    }
    entries = file.take("entries", dict)
    file.done()
    for name in entries:
        if not (isinstance(name, str) and name.isidentifier()):
            raise IndexSchemaError(f"{path.name}: entry {name!r} is not an identifier; write '-' and '.' as '_'")
    if scanned != list(entries):
        odd = next(iter(set(scanned) ^ set(entries)), None) or "one of them"
        raise IndexSchemaError(f"{path.name}: entry '{odd}': write each entry's name alone on a line, indented by two")
    for name, value in entries.items():
        fields = _Fields(value, f"{path.name}: entry '{name}'")
        yield _entry(name, fields, method, paper, architectures, protocols, recipes)


def read_backbones(path: Path) -> dict[str, tuple[ModuleSpec, Weights | None, tuple[str, ...], str | None]]:
    """Of each starting point: network, weights, patterns of what the file may lack, and a note.

    Raises:
        IndexSchemaError: as :func:`read_entries`.
    """
    out = {}
    for name, value in _Fields(_read_yaml(path), path.name).values.items():
        fields = _Fields(value, f"{path.name}: backbone '{name}'")
        backbone = _module(fields.take("backbone", dict), f"{fields.where}.backbone")
        fresh = tuple(fields.take("fresh", list, []))
        note = fields.take("note", str, None)
        if "addresses" not in fields.values and note is None:
            raise fields.fault("addresses", "is missing; a note must say why")
        weights = _weights(fields) if "addresses" in fields.values else None
        fields.done()
        out[str(name)] = (backbone, weights, fresh, note)
    return out


def _palette(fields: _Fields, count: int) -> tuple[tuple[int, int, int], ...]:
    colours = fields.take("palette", list)
    if len(colours) != count:
        raise fields.fault("palette", f"has {len(colours)} colours for {count} classes")
    for colour in colours:
        if not (isinstance(colour, str) and re.fullmatch(r"#[0-9a-f]{6}", colour)):
            raise fields.fault("palette", f"must hold colours such as '#804080', not {_describe(colour)}")
    return tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in colours)


def _label_form(fields: _Fields) -> LabelForm:
    values = fields.take("values", Mapping, None)
    for pair in (values or {}).items():
        if not all(isinstance(number, int) and 0 <= number <= 255 for number in pair):
            raise fields.fault("values", f"must lead from whole numbers to whole numbers of 0 to 255, not {pair}")
    form = LabelForm(fields.take("suffix", str), None if values is None else dict(values))
    fields.done()
    return form


def _split_part(fields: _Fields) -> SplitPart:
    part = SplitPart(fields.take("images", str), fields.take("labels", str), fields.take("names", str, None))
    fields.done()
    return part


def _layout(fields: _Fields) -> Layout:
    splits = fields.sub("splits")
    layout = Layout(
        folder=fields.take("folder", str),
        image_suffix=fields.take("image_suffix", str),
        labels=tuple(_label_form(form) for form in fields.subs("labels")),
        splits={name: tuple(_split_part(part) for part in splits.subs(name)) for name in list(splits.values)},
    )
    fields.done()
    return layout


def read_datasets(path: Path) -> dict[str, Dataset]:
    """The data sets of ``datasets.yaml`` by key.

    Raises:
        IndexSchemaError: as :func:`read_entries`.
    """
    out = {}
    for name, value in _Fields(_read_yaml(path), path.name).values.items():
        fields = _Fields(value, f"{path.name}: data set '{name}'")
        classes = fields.take("classes", list)
        if not classes or not all(isinstance(c, str) for c in classes):
            raise fields.fault("classes", "must be a list of names")
        out[name] = Dataset(
            name=name,
            title=fields.take("title", str),
            classes=tuple(classes),
            palette=_palette(fields, len(classes)),
            licence=fields.take("licence", str),
            source=fields.take("source", str),
            layout=_layout(fields.sub("layout")),
            reduce_zero_label=fields.take("reduce_zero_label", bool, False),
            preparation=fields.take("preparation", str, None),
        )
        fields.done()
    return out
