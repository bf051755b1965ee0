"""Measurements as JSON lines: one object a figure, of a kind that has a schema, with where and when it was taken.

A record names its ``kind`` and holds the fields that :data:`SCHEMAS` lists for it, and as many others as its writer
likes. A required field that nobody knows is null, and ``absent`` says why: ``{"environment.commit": "not recorded"}``;
no figure and no circumstance is ever made up. Times are UTC in ISO 8601, rates and shares are percentages where a
metric's name says so (``mIoU``), memory is in bytes, durations are in seconds unless the name says ``ms``.

Importing this imports no torch.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from segzoo.environment import environment, now
from segzoo.errors import SegzooError

__all__ = ["SCHEMAS", "RecordError", "append", "environment", "now", "read", "validate", "write"]

Record = dict[str, Any]
Check = Callable[[Any], str | None]  # what is wrong with a value, in words; None if nothing is


class RecordError(SegzooError, ValueError):
    """A record lacks a field of its kind or a field has a wrong value; names the file, the line and the field."""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "expected a text"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "expected true or false"


def _number(value: Any) -> str | None:
    sound = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return None if sound else "expected a finite number, 0 or more"


def _count(value: Any) -> str | None:
    sound = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if sound else "expected a whole number, 0 or more"


def _size(value: Any) -> str | None:
    sound = isinstance(value, list) and len(value) == 2 and all(_count(side) is None and side > 0 for side in value)
    return None if sound else "expected [height, width] in pixels"


def _sha256(value: Any) -> str | None:
    sound = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return None if sound else "expected 64 hexadecimal digits"


def _time(value: Any) -> str | None:
    try:
        moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        return "expected a time such as 2026-11-20T09:48:02Z"
    return None if moment.utcoffset() == datetime.timedelta(0) else "expected a time in UTC"


def _object(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else "expected an object"


def _one_of(*values: str) -> Check:
    return lambda value: None if value in values else f"expected one of {', '.join(values)}"


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _figures(*required: str) -> Check:
    """Numbers by name, null for a figure that does not exist (a class that is in no picture); some must be there."""

    def check(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return "expected an object of numbers"
        for name in required:
            if _number(value.get(name)):
                return f"{name}: {_number(value.get(name))}"
        wrong = [name for name, figure in value.items() if figure is not None and _number(figure)]
        return f"{wrong[0]}: {_number(value[wrong[0]])}, or null" if wrong else None

    return check


_ENVIRONMENT: Mapping[str, Check] = {
    "time": _time,
    "commit": _or_null(_text),  # null outside a checkout
    "versions": _object,
    "device": _text,
    "threads": _or_null(_count),  # null where torch is not loaded
    "hardware": _object,
}
_SPREAD = _figures("median", "mean", "q1", "q3")
_MEASURED: Mapping[str, Check] = {"entry": _text, "input_size": _size, "dtype": _text}

# Fields that a record of each kind must have. ``downloads.*`` kinds share the fields of ``downloads``.
SCHEMAS: Mapping[str, Mapping[str, Check]] = {
    # An architecture's logits beside the published implementation's.
    "parity": {
        "method": _text,
        "architecture": _text,
        "max_error_over_std": _number,
        "verdict": _one_of("agrees", "disagrees"),
        "dtype": _text,
        "environment": _object,
    },
    # mIoU and the rest, in percent, of a model on a split of a data set, by a named protocol.
    "accuracy": {
        "entry": _text,
        "dataset": _text,
        "split": _text,
        "protocol": _text,
        "metrics": _figures("mIoU"),
        "pictures": _count,
        "weights_sha256": _sha256,
        "environment": _object,
    },
    # Seconds a picture at batch 1. definition: what the timed region holds.
    "speed": {
        **_MEASURED,
        "definition": _one_of("model-zoo", "with-transfer"),
        "mode": _one_of("whole", "slide"),
        "fps": _number,
        "ms": _SPREAD,
        "images": _count,
        "not_counted": _count,
        "environment": _object,
    },
    "throughput": {
        **_MEASURED,
        "batch_size": _count,
        "images_per_second": _number,
        "ms": _SPREAD,
        "environment": _object,
    },
    "first_call": {**_MEASURED, "ms": _number, "environment": _object},
    # The allocator's maximum on a GPU and the process's peak resident set on a CPU are different things.
    "memory": {
        **_MEASURED,
        "work": _one_of("inference", "training"),
        "measure": _one_of("max_memory_allocated", "peak_resident_set"),
        "bytes": _count,
        "environment": _object,
    },
    "cost": {**_MEASURED, "parameters": _count, "flops": _count, "environment": _object},
    # Seconds of one step: forward, losses, backward, optimizer.
    "training_speed": {
        **_MEASURED,
        "batch_size": _count,
        "seconds_per_iteration": _number,
        "s": _SPREAD,
        "iterations": _count,
        "not_counted": _count,
        "environment": _object,
    },
    # A training run: its resolved recipe once, then a line an interval, and a line an evaluation.
    "training_run": {"entry": _text, "dataset": _text, "recipe": _object, "environment": _object},
    "training": {"iteration": _count, "losses": _object},
    "validation": {"iteration": _count, "metrics": _figures("mIoU")},
    # A published OpenMMLab training log, read; what it does not hold is null.
    "published_training": {
        "entry": _text,
        "source": _text,
        "source_sha256": _sha256,
        "iterations": _count,
        "memory_mb": _number,
        "seconds_per_iteration": _number,
        "metrics": _object,
        "imported": _time,
    },
    # Somebody's figure for training speed, as published: seconds_per_iteration is null where none was given.
    "published_training_speed": {
        "implementation": _text,
        "entry": _text,
        "input_size": _size,
        "batch_size": _count,
        "seconds_per_iteration": _number,
        "hardware": _text,
        "source": _text,
    },
    "downloads": {"met": _flag, "bar": _text, "environment": _object},
    # The same work by segzoo and by another implementation.
    "comparison": {
        "subject": _text,
        "peer": _text,
        "unit": _text,
        "ours": _number,
        "theirs": _number,
        "environment": _object,
    },
    # An exported file's logits beside the model's, as the largest error in standard deviations, by "HxW".
    "export": {
        "entry": _text,
        "method": _text,
        "format": _one_of("onnx", "torch_export"),
        "sizes": _one_of("any", "one"),
        "errors": _figures(),
        "environment": _object,
    },
    # A measurement that was tried and gave no figure.
    "failure": {"entry": _text, "work": _text, "reason": _text, "environment": _object},
}


def validate(record: Mapping[str, Any]) -> None:
    """Check a record against the schema of its kind.

    Raises:
        RecordError: unknown kind, a field that is missing or wrong, a number that is not finite; names the field.
    """
    if not isinstance(record, Mapping):
        raise RecordError(f"expected a JSON object, found {type(record).__name__}")
    kind = record.get("kind")
    schema = SCHEMAS.get(kind.partition(".")[0] if isinstance(kind, str) else "")
    if schema is None:
        raise RecordError(f"kind {kind!r} is unknown; there are {', '.join(SCHEMAS)}")
    try:
        json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{kind}: not JSON: {error}") from error
    absent = record.get("absent", {})
    if not isinstance(absent, Mapping) or not all(isinstance(reason, str) and reason for reason in absent.values()):
        raise RecordError(f"{kind}: absent: expected a reason for each field")
    _check_fields(kind, "", record, schema, absent)
    if "environment" in schema:
        _check_fields(kind, "environment.", record["environment"], _ENVIRONMENT, absent)


def _check_fields(
    kind: Any, prefix: str, values: Mapping[str, Any], schema: Mapping[str, Check], absent: Mapping[str, str]
) -> None:
    for name, check in schema.items():
        value, path = values.get(name), f"{prefix}{name}"
        if value is None and path in absent:
            continue
        complaint = "missing" if name not in values else check(value)
        if complaint and value is None:
            complaint += (
                f", found none; a value that nobody knows is null with a reason under absent: {{'{path}': ...}}"
            )
        if complaint:
            raise RecordError(f"{kind}: {path}: {complaint}")


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Validate a record and add it to a JSON-lines file as one line, in one write; makes the folder if need be.

    Raises:
        RecordError: see :func:`validate`; nothing is written.
    """
    validate(record)
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(line)


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Validate records and make them a file's whole content; the old file stays as it is if one of them is wrong.

    Raises:
        RecordError: see :func:`validate`.
    """
    lines = []
    for record in records:
        validate(record)
        lines.append(json.dumps(record, allow_nan=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write("".join(lines))
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(paths: Iterable[Path]) -> list[Record]:
    """The records of JSON-lines files, and of every ``*.jsonl`` of folders, in order of name and line.

    Raises:
        RecordError: a file cannot be read or a line is no sound record; names file and line.
    """
    records: list[Record] = []
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            records.extend(_read_file(file))
    return records


def _read_file(path: Path) -> list[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            validate(record)
        except json.JSONDecodeError as error:
            raise RecordError(f"{path}:{number}: not JSON ({error.msg}); a line cut short can be deleted") from error
        except RecordError as error:
            raise RecordError(f"{path}:{number}: {error}") from error
        records.append(record)
    return records
