"""A side of a comparison at work in a process of its own, asked by a word a line, answering by a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segzoo.errors import SegzooError

__all__ = ["Process"]


class Process:
    """``python -m ARGUMENTS``, whose first line tells its torch. What it says beside its answers goes to ``problems``.

    Raises:
        SegzooError: the process ended; the message has the last line that it said.
    """

    def __init__(self, side: str, arguments: Sequence[str], problems: Path) -> None:
        self.side, self.problems = side, problems.open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.problems,
            text=True,
        )
        self.torch: str = self._answer()["torch"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.problems.seek(0)
            said = self.problems.read().strip().splitlines() or ["nothing was said"]
            raise SegzooError(f"{self.side} ended with code {self.process.returncode}: {said[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, word: str) -> dict[str, Any]:
        """The answer to ``word``; raises SegzooError as above."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Stop the process at once."""
        self.process.kill()
        self.process.wait()
        self.problems.close()
