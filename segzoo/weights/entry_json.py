"""An index entry as JSON and back, so that a saved model needs no index."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from segzoo.errors import CheckpointError
from segzoo.index import Entry, ModuleSpec

__all__ = ["entry_from_json", "entry_to_json"]


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """The entry's fields as dicts, lists, texts and numbers."""
    return dataclasses.asdict(entry)


def entry_from_json(value: Any, source: str) -> Entry:
    """The entry that :func:`entry_to_json` wrote.

    Raises:
        CheckpointError: a field is missing, unknown or of another type; names it and ``source``.
    """
    entry: Entry = _restore(Entry, value, f"{source}: entry")
    return entry


def _restore(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _restore_dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        return _restore_union(arguments, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(_restore(inner, item, f"{where}[{i}]") for i, (inner, item) in pairs)
    elif origin is typing.Literal and value in arguments:
        return value
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {str(key): _restore(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    elif kind is Any:
        # A part of a network may hold another, as K-Net's head does.
        held = isinstance(value, Mapping) and set(value) == {"type", "arguments"}
        return _restore(ModuleSpec, value, where) if held else value
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise CheckpointError(f"{where} has the value {str(value)[:60]!r}, which is of another type than segzoo writes")


def _restore_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    failure: CheckpointError | None = None
    for kind in kinds:
        if kind is types.NoneType:
            if value is None:
                return None
            continue
        try:
            return _restore(kind, value, where)
        except CheckpointError as error:
            failure = failure or error
    raise failure or CheckpointError(f"{where} is missing")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _restore_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} is not an object")
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - set(fields)):
        raise CheckpointError(
            f"{where} has a field {unknown[0]!r} that this version of segzoo does not know; update it"
        )
    given = {name: _restore(hints[name], value[name], f"{where}.{name}") for name in fields if name in value}
    required = (
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    if missing := [name for name in required if name not in given]:
        raise CheckpointError(f"{where} lacks the field {missing[0]!r}")
    return kind(**given)
