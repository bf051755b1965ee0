"""A measurement in a process of its own, with a time limit; what it found comes back as records.

The process is this module: ``python -m segzoo.benchmark.processes FILE`` reads its conditions from standard input,
appends records to FILE as they are taken, and a line of progress to standard output for each picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo import records
from segzoo.benchmark.conditions import Conditions, from_dict
from segzoo.errors import SegzooError

__all__ = ["Outcome", "failure", "measure", "run"]

_ERROR_LINES = 20


@dataclass(frozen=True)
class Outcome:
    """Records that a process left, and why it ended early, None if it did not."""

    records: list[dict[str, Any]]
    reason: str | None


def measure(
    conditions: Conditions, *, timeout: float | None = None, progress: Callable[[str], object] = lambda _: None
) -> Outcome:
    """Measure in a fresh process; ``progress`` is called with a word for each picture or step."""
    with tempfile.TemporaryDirectory(prefix="segzoo-benchmark-") as folder:
        log = Path(folder) / "records.jsonl"
        command = [sys.executable, "-m", "segzoo.benchmark.processes", str(log)]
        reason = run(command, json.dumps(dataclasses.asdict(conditions)), timeout=timeout, progress=progress)
        return Outcome(records.read([log]) if log.exists() else [], reason)


def run(
    command: Sequence[str],
    text: str = "",
    *,
    timeout: float | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> str | None:
    """Run a command with ``text`` as its input; why it failed in one line, None if it did not.

    ``progress`` is called with every line of its output.
    """
    timed_out = threading.Event()
    errors: deque[str] = deque(maxlen=_ERROR_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it starts can be ended with it
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def stop() -> None:
            timed_out.set()
            _kill(process)

        clock = threading.Timer(timeout, stop) if timeout is not None else None
        reader = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            if clock:
                clock.start()
            with contextlib.suppress(BrokenPipeError):  # it has ended already; its exit code says why
                process.stdin.write(text)
                process.stdin.close()
            for line in process.stdout:
                progress(line.strip())
            code = process.wait()
            reader.join()
        except BaseException:
            _kill(process)
            raise
        finally:
            if clock:
                clock.cancel()
    if timed_out.is_set():
        return f"stopped after {timeout:g} s"
    if code == 0:
        return None
    last = next((line.strip() for line in reversed(errors) if line.strip()), "")
    return (f"killed by signal {-code}" if code < 0 else f"exit code {code}") + (f": {last}" if last else "")


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started."""
    if os.name != "posix":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def failure(conditions: Conditions, reason: str) -> dict[str, Any]:
    """The record of a measurement that gave no figure, or not all of them."""
    return {
        "kind": "failure",
        "entry": conditions.name,
        "work": conditions.work,
        "reason": reason,
        "conditions": json.loads(json.dumps(dataclasses.asdict(conditions))),
        "environment": records.environment(),
    }


def main(arguments: Sequence[str]) -> int:
    """The measuring process: conditions on standard input, records appended to the file named first."""
    conditions = from_dict(json.load(sys.stdin))
    log = Path(arguments[0])

    def progress(what: str) -> None:
        print(what, flush=True)

    try:
        for record in _measurements(conditions, progress):
            records.append(log, record)
    except SegzooError as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    return 0


def _measurements(conditions: Conditions, progress: Callable[[str], object]) -> Any:
    if conditions.work == "training":
        from segzoo.benchmark import training

        return training.measure(conditions, progress)
    from segzoo.benchmark import inference

    return inference.measure(conditions, progress)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
