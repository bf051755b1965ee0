"""A run over the zoo: every model measured in a process of its own, so that a crash costs one row.

    python -m benchmarks.run 'pspnet*cityscapes' --device cuda                 # speed and memory
    python -m benchmarks.run '*_r101_*' --device cuda --training               # training steps
    python -m benchmarks.run '*cityscapes' --data data/cityscapes --tta        # accuracy as well

Records are appended to the log as they come. A run that is interrupted goes on when it is started again: what the log
holds under the same conditions is passed over, a failure too unless --retry asks for it. Failures are records, and
stand in the tables (segzoo tables).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segzoo import records
from segzoo.benchmark import processes
from segzoo.benchmark.commands import add_conditions, chosen, conditions_of, default_device
from segzoo.benchmark.conditions import Conditions
from segzoo.errors import SegzooError
from segzoo.index import find

__all__ = ["Job", "main", "plan", "run"]

DEFAULT_LOG = Path(__file__).resolve().parent / "logs" / "zoo.jsonl"
_TIME_LIMIT_S = 1800.0

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Accuracy:
    """An evaluation: of which model, on which data, by which protocol."""

    name: str
    data: Path
    tta: bool
    limit: int | None
    device: str
    work: str = "accuracy"

    def command(self, log: Path) -> list[str]:
        """The command line that appends its record to ``log``."""
        line = [sys.executable, "-m", "segzoo", "evaluate", self.name, "--data", str(self.data), "--out", str(log)]
        line += ["--tta"] if self.tta else []
        line += ["--limit", str(self.limit)] if self.limit else []
        return [*line, "--device", self.device, "--quiet"]


Job = Conditions | Accuracy


def describe(job: Job) -> dict[str, Any]:
    """A job's conditions as a record holds them; equal for equal jobs."""
    fields = dataclasses.asdict(job)
    described: dict[str, Any] = json.loads(json.dumps(fields, default=str))
    return described


def plan(jobs: Iterable[Job], done: Iterable[dict[str, Any]], *, retry: bool) -> list[Job]:
    """The jobs that ``done``, a log's records, does not hold yet; failed ones again only with ``retry``."""
    finished = [
        record["job"]
        for record in done
        if "job" in record and record.get("last") and not (retry and record["kind"] == "failure")
    ]
    return [job for job in jobs if describe(job) not in finished]


def run(jobs: Sequence[Job], log: Path, *, timeout: float, progress: Progress = lambda _: None) -> Iterator[str | None]:
    """Work through jobs, appending to ``log``; for each, why it failed, or None.

    Every record names its ``job``, and the ``last`` one of a job says so: what a run was stopped in is done again.
    """
    for job in jobs:
        outcome = _accuracy(job, timeout, progress) if isinstance(job, Accuracy) else None
        if outcome is None:
            assert not isinstance(job, Accuracy)
            outcome = processes.measure(job, timeout=timeout, progress=progress)
        found = list(outcome.records)
        if outcome.reason or not found:
            found.append(_failure(job, outcome.reason or "left no record"))
        for number, record in enumerate(found, start=1):
            records.append(log, {**record, "job": describe(job), "last": number == len(found)})
        yield outcome.reason


def _accuracy(job: Accuracy, timeout: float, progress: Progress) -> processes.Outcome:
    with tempfile.TemporaryDirectory(prefix="segzoo-run-") as folder:
        log = Path(folder) / "records.jsonl"
        reason = processes.run(job.command(log), timeout=timeout, progress=progress)
        return processes.Outcome(records.read([log]) if log.exists() else [], reason)


def _failure(job: Job, reason: str) -> dict[str, Any]:
    return {
        "kind": "failure",
        "entry": job.name,
        "work": job.work,
        "reason": reason,
        "environment": records.environment(job.device if job.device == "cpu" else None),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="PATTERN", help="names of models, or quoted patterns")
    add_conditions(parser)
    parser.add_argument("--data", type=Path, metavar="ROOT", help="also evaluate, on the data sets in this folder")
    parser.add_argument("--tta", action="store_true", help="evaluate with several scales and flips as well")
    parser.add_argument("--limit", type=int, metavar="N", help="evaluate on the first N pictures only")
    parser.add_argument("--log", type=Path, default=DEFAULT_LOG, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--time-limit", type=float, default=_TIME_LIMIT_S, metavar="S", help="for each job (default: %(default)g s)"
    )
    parser.add_argument("--retry", action="store_true", help="try again what failed")
    return parser


def _jobs(args: argparse.Namespace) -> Iterator[Job]:
    device = default_device(args.device)
    for name in chosen(args.names):
        yield conditions_of(name, args, device)
        if args.data:
            data = args.data
            for tta in (False, True) if args.tta else (False,):
                yield Accuracy(find(name).name, data, tta, args.limit, device)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 if a job failed."""
    args = _parser().parse_args(arguments)
    try:
        return _main(args)
    except SegzooError as error:
        print(f"benchmarks.run: {error}", file=sys.stderr)
        return 2


def _main(args: argparse.Namespace) -> int:
    jobs = list(_jobs(args))
    todo = plan(jobs, records.read([args.log]) if args.log.exists() else [], retry=args.retry)
    failed = []
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="job", disable=None) as bar:

        def progress(what: str) -> None:
            bar.set_postfix_str(what)

        for job, reason in zip(todo, run(todo, args.log, timeout=args.time_limit, progress=progress), strict=True):
            bar.update()
            if reason:
                failed.append(job)
                bar.write(f"{job.name}, {job.work}: {reason}", file=sys.stderr)
    kept = len(jobs) - len(todo)
    print(f"{len(todo) - len(failed)} done, {kept} done before, {len(failed)} failed; records in {args.log}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
