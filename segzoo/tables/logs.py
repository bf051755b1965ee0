"""The logs as tables want them: of each measurement the newest record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segzoo import records

__all__ = ["Logs", "Record", "default_logs", "read_logs"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Logs:
    """The newest record of each kind of measurement.

    ``parity``: by (method, architecture), the comparison with the reference logits.
    ``accuracy``: by (entry name, protocol).
    ``speed``: by (entry name, definition), at the size and in the type of the published figures.
    ``memory``: by (entry name, work). ``cost``: by entry name. ``training_speed``: by entry name.
    ``published_training``: by entry name, what a published training log holds.
    ``published_training_speed``: all, in their order.
    ``comparison``: by subject, what was measured beside another implementation.
    ``failures``: by (entry name, work), where nothing newer succeeded.
    """

    parity: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    accuracy: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    speed: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    memory: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    cost: Mapping[str, Record] = field(default_factory=dict)
    training_speed: Mapping[str, Record] = field(default_factory=dict)
    published_training: Mapping[str, Record] = field(default_factory=dict)
    published_training_speed: tuple[Record, ...] = ()
    comparison: Mapping[str, Record] = field(default_factory=dict)
    failures: Mapping[tuple[str, str], Record] = field(default_factory=dict)


def default_logs() -> Path:
    """``benchmarks/logs`` of the checkout that this package lies in; an installed wheel has none."""
    return Path(__file__).resolve().parents[2] / "benchmarks" / "logs"


def read_logs(directory: Path) -> Logs:
    """Read every ``*.jsonl`` of a folder; of two records about one thing the later one counts.

    Accuracy, speed, memory and cost count only ``as_tested``: accuracy with the entry's own weights on all pictures of
    its own data set, speed at the size of the published figures, of the network as it is, in float32. Records of
    other kinds are left to those who want them. Each record also gets the name of its file, as ``log``.

    Raises:
        RecordError: a line is not a sound record; names file and line.
    """
    found = []
    for path in sorted(directory.glob("*.jsonl")):
        found += [{**record, "log": path.name} for record in records.read([path])]
    return collect(found)


def collect(found: Iterable[Record]) -> Logs:
    """What :func:`read_logs` gives, from records in their order."""
    found = sorted(found, key=_moment)
    of = {kind: [record for record in found if record["kind"] == kind] for kind in records.SCHEMAS}
    evaluated = [record for record in of["accuracy"] if record.get("as_tested", True)]
    tested = [record for record in (*of["speed"], *of["memory"]) if record.get("as_tested")]
    done = {(record["entry"], "inference"): record for record in of["speed"]}
    done |= {(record["entry"], "training"): record for record in of["training_speed"]}
    done |= {(record["entry"], "accuracy"): record for record in evaluated}
    failures = {(record["entry"], record["work"]): record for record in of["failure"]}
    return Logs(
        parity={(record["method"], record["architecture"]): record for record in of["parity"]},
        accuracy={(record["entry"], record["protocol"]): record for record in evaluated},
        speed={(r["entry"], r["definition"]): r for r in tested if r["kind"] == "speed"},
        memory={(r["entry"], r["work"]): r for r in tested if r["kind"] == "memory"},
        cost={record["entry"]: record for record in of["cost"] if record.get("as_tested")},
        training_speed={record["entry"]: record for record in of["training_speed"] if record.get("as_tested")},
        published_training={record["entry"]: record for record in of["published_training"]},
        published_training_speed=tuple(of["published_training_speed"]),
        comparison={record["subject"]: record for record in of["comparison"]},
        failures={
            key: record for key, record in failures.items() if key not in done or _moment(done[key]) < _moment(record)
        },
    )


def _moment(record: Record) -> str:
    """When a record was made; the unknown moment is before every other."""
    return str(record.get("environment", {}).get("time") or record.get("imported") or "").replace("+00:00", "Z")
