"""Plain data to frozen dataclasses and back, by the types that their fields declare."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from segzoo.errors import RecipeError

__all__ = ["assign", "from_plain", "to_plain"]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _type_text(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_text(argument) for argument in arguments)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        if arguments[-1] is ...:
            return f"a list of {_type_text(arguments[0])}"
        return f"a list of {len(arguments)} {_type_text(arguments[0])}"
    if kind is types.NoneType:
        return "null"
    name = getattr(kind, "__name__", str(kind))
    return f"a mapping ({name})" if dataclasses.is_dataclass(kind) else name


def _fault(kind: Any, value: Any, where: str) -> RecipeError:
    return RecipeError(f"recipe: {where or 'it'} must be {_type_text(kind)}, not {str(value)[:60]!r}")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    # YAML 1.1 reads '1e-3' as a text, since it has no dot.
    if kind is float and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _fault(kind, value, where) from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and math.isnan(value)):
        raise _fault(kind, value, where)
    return value


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``kind``: a dataclass, a tuple, an optional, a literal, or a plain type.

    Args:
        kind: the type; dataclasses are made of mappings, tuples of lists, floats of numbers.
        value: dicts, lists, texts, numbers and None.
        where: the dotted path of the value, for messages.

    Raises:
        RecipeError: a field is missing or unknown, or a value does not fit; names the path and the type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            if types.NoneType in arguments:
                return None
            raise _fault(kind, value, where)
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return from_plain(inner, value, where)
    if origin is typing.Literal:
        if isinstance(value, str) and value in arguments:
            return value
        raise _fault(kind, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _fault(kind, value, where)
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) != len(value):
            raise _fault(kind, value, where)
        return tuple(from_plain(k, v, f"{where}.{i}") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    return _scalar(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise _fault(kind, value, where)
    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise RecipeError(f"recipe: there is no field {prefix}{name}; there are {', '.join(fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise RecipeError(f"recipe: field {prefix}{name} is missing; it must be {_type_text(_hints(kind)[name])}")
    return kind(**{name: from_plain(_hints(kind)[name], item, f"{prefix}{name}") for name, item in value.items()})


def to_plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON and YAML have them."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def assign(plain: Any, setting: str) -> None:
    """Changes plain data in place by a setting such as ``'optimizer.lr=0.01'``: a dotted path, then a YAML value.

    Raises:
        RecipeError: the setting has no '=', its value is not YAML, or its path leads nowhere.
    """
    path, equals, text = setting.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last:
        raise RecipeError(f"{setting!r} is not a setting; write field=value, such as optimizer.lr=0.01")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"the value of {setting!r} cannot be read: {str(error).splitlines()[0]}") from error
    where = ""
    for part in parents:
        plain, where = plain[_step(plain, part, where)], f"{where}.{part}" if where else part
    plain[_step(plain, last, where)] = value


def _step(plain: Any, part: str, where: str) -> str | int:
    """The key or place that ``part`` means in ``plain``."""
    inner = f"{where}.{part}" if where else part
    if isinstance(plain, dict):
        if part not in plain:
            raise RecipeError(f"recipe: there is no field {inner}; there are {', '.join(plain)}")
        return part
    if isinstance(plain, list):
        if not part.isdecimal() or int(part) >= len(plain):
            raise RecipeError(f"recipe: {where} is a list of {len(plain)}, counted from 0; there is no {inner}")
        return int(part)
    raise RecipeError(f"recipe: {where} is {plain!r} and has no fields; give it whole, as {where}=...")
