"""Measurements in processes of their own: an end that comes early is told, and costs nothing but its own figures."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from segzoo import records
from segzoo.benchmark import processes
from segzoo.benchmark.conditions import InferenceConditions
from segzoo.cli import main
from segzoo.errors import OptionError, UnknownNameError

NAME = "fast_scnn_drawn_streets"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_sound_end_has_no_reason_and_every_line_is_progress() -> None:
    seen: list[str] = []
    assert processes.run(python("print(input()); print('two')"), "one", progress=seen.append) is None
    assert seen == ["one", "two"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('out of luck')", "exit code 1: out of luck"),
        ("import os; os.abort()", "killed by signal 6"),
        ("1 / 0", "exit code 1: ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_an_early_end_says_why(code: str, reason: str) -> None:
    assert processes.run(python(code), "x" * 100_000) == reason


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
    ],
    ids=["itself", "what it started"],
)
def test_a_process_that_takes_too_long_is_stopped(code: str) -> None:
    started = time.monotonic()
    assert processes.run(python(code), timeout=0.5) == "stopped after 0.5 s"
    assert time.monotonic() - started < 30


def test_records_taken_before_the_end_are_kept() -> None:
    """Throughput of a batch that no memory holds fails after the other figures."""
    conditions = InferenceConditions(NAME, (64, 64), images=2, not_counted=1, batch_sizes=(10**15,))
    words: list[str] = []
    outcome = processes.measure(conditions, progress=words.append)
    assert [record["kind"] for record in outcome.records] == ["first_call", "memory", "speed", "speed"]
    assert outcome.reason is not None
    assert "exit code" in outcome.reason
    assert words.count("model-zoo") == words.count("with-transfer") == 2
    records.validate(processes.failure(conditions, outcome.reason))


def test_command_measures_prints_and_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    common = ["--size", "64x64", "--images", "2", "--not-counted", "1", "--batch-sizes", "1", "--log", str(log)]
    assert main(["benchmark", NAME, "--device", "cpu", *common]) == 0
    text = capsys.readouterr().out
    assert f"{NAME}  64x64 float32 on cpu" in text
    for figure in ("first call", "peak resident set", "model-zoo definition", "transfer included", "GFLOP"):
        assert text.count(figure) == 1
    found = records.read([log])
    assert len(found) == 6
    monkeypatch.setattr(processes, "measure", lambda *_, **__: processes.Outcome([], "killed by signal 9"))
    assert main(["benchmark", NAME, "--device", "nowhere", *common]) == 1
    assert f"{NAME}: killed by signal 9" in capsys.readouterr().err
    failed = records.read([log])[6:]
    assert [record["kind"] for record in failed] == ["failure"]
    assert (failed[0]["reason"], failed[0]["conditions"]["device"]) == ("killed by signal 9", "nowhere")


def test_names_and_patterns_that_mean_nothing_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    from segzoo.benchmark.commands import chosen

    assert chosen([NAME, "*drawn_streets"]).count(NAME) == 1
    with pytest.raises(UnknownNameError, match="no model's name fits 'x\\*y'"):
        chosen(["x*y"])
    assert main(["benchmark", NAME, "--training", "--prepared", "--device", "cpu"]) == 1
    assert "--prepared" in capsys.readouterr().err
    with pytest.raises(OptionError, match="uncounted"):
        InferenceConditions(NAME, (64, 64), images=5)
