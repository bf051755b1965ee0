"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from segzoo import cli
from segzoo.cli import build_parser, main
from segzoo.describe import describe
from segzoo.index import default_index, find

ROOT = Path(__file__).resolve().parent.parent
SHORT = "fastfcn_r50_jpu_psp_cityscapes"
CANONICAL = "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"

Capture = pytest.CaptureFixture[str]


def segzoo(*argv: str, module: str = "segzoo") -> list[str]:
    return [sys.executable, "-m", module, *argv]


def leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of all commands, those of nested ones (``segzoo index pin``) included."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += leaves(sub) or [sub]
    return found


# list


def test_list_shows_every_model_in_columns(capsys: Capture) -> None:
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert header.split() == ["name", "backbone", "dataset", "crop", "iterations", "mIoU", "mIoU(ms+flip)"]
    assert [line.split()[0] for line in lines] == sorted(default_index().entries)
    assert err == f"{len(lines)} models\n"
    (line,) = (line for line in lines if line.startswith(CANONICAL))
    assert line.split()[1:] == ["R-50-D32", "cityscapes", "512x1024", "80000", "79.26", "80.86"]
    assert line[: header.index("mIoU") + 4].endswith("79.26")  # figures end where their heading ends
    assert line[header.index("dataset") :].startswith("cityscapes")


def test_list_filters_and_sorts(capsys: Capture) -> None:
    assert main(["list", "--method", "fastfcn", "--dataset", "cityscapes", "--sort", "mIoU", "--names"]) == 0
    names = capsys.readouterr().out.split()
    figures = [find(name).reported.metrics["mIoU"] for name in names]
    assert len(names) == 6
    assert figures == sorted(figures, reverse=True)
    assert {find(name).method for name in names} == {"FastFCN"}


def test_list_takes_a_pattern_and_columns(capsys: Capture) -> None:
    assert main(["list", "fastfcn_*_psp_*_cityscapes", "--columns", "name,fps,memory,mode"]) == 0
    out = capsys.readouterr().out
    assert out.split()[:4] == ["name", "fps", "memory", "mode"]
    assert [line.split()[1:] for line in out.splitlines() if line.startswith(CANONICAL)] == [["4.40", "5.67", "whole"]]


def test_list_json_has_every_column_unrounded(capsys: Capture) -> None:
    assert main(["list", SHORT, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert list(record) == list(cli._COLUMNS)
    assert (record["name"], record["short"], record["mIoU"], record["classes"]) == (
        CANONICAL,
        SHORT,
        79.26,
        19,
    )


def test_list_without_a_match_says_what_there_is(capsys: Capture) -> None:
    assert main(["list", "--dataset", "cityscape"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no model fits" in err
    assert "cityscapes" in err
    assert main(["list", "--dataset", "cityscape", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


# info


@pytest.mark.parametrize("name", [SHORT, CANONICAL, "fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024"])
def test_info_tells_what_a_person_wants(capsys: Capture, name: str) -> None:
    assert main(["info", name]) == 0
    out = capsys.readouterr().out
    entry = find(CANONICAL)
    squeezed = " ".join(out.split())
    for wanted in (
        *entry.names,
        *entry.weights.addresses,
        entry.paper.title,
        entry.paper.url,
        "Cityscapes",
        "traffic light",
        "512x1024",
        "80000",
        "79.26",
        "80.86",
        "4.40 pictures a second",
        "57749bed",
        "long side at most 2048, short side at most 1024",
        "123.675, 116.28, 103.53",
        "JPU(",
        f"segzoo.load('{SHORT}')",
    ):
        assert wanted in squeezed, wanted


def test_info_fits_the_page_where_words_allow(capsys: Capture) -> None:
    assert main(["info", SHORT]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert len(line) <= 120 or len(line.split()[-1]) > 60


def test_info_of_windows(capsys: Capture) -> None:
    assert main(["info", "pspnet_r50_d8_769x769_40k_cityscapes"]) == 0
    assert "windows of 769x769, stride 513x513" in capsys.readouterr().out


def test_info_json_is_the_whole_entry(capsys: Capture) -> None:
    assert main(["info", SHORT, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {field.name for field in dataclasses.fields(find(SHORT))} <= set(record)
    assert record["weights"]["addresses"] == list(find(SHORT).weights.addresses)
    assert record["classes"][:2] == ["road", "sidewalk"]
    assert record["names"] == list(find(SHORT).names)


def test_every_entry_can_be_described() -> None:
    for entry in default_index().entries.values():
        text = describe(entry)
        assert entry.name in text
        assert "None" not in text.replace("=None", "")


# help, errors, exit codes


def test_every_command_has_help_with_an_example(capsys: Capture) -> None:
    parsers = leaves(build_parser())
    assert {"segzoo " + name for name in ("list", "info", "predict", "demo", "download", "tables")} <= {
        parser.prog for parser in parsers
    }
    for parser in parsers:
        text = parser.format_help()
        assert "example" in text.lower(), f"{parser.prog} --help shows no example"
        assert f"\n  {parser.prog}" in text, f"{parser.prog} --help shows an example of another command"
        assert callable(parser.get_default("run")), f"{parser.prog} does nothing"


def test_help_names_every_command(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for command in ("list", "info", "predict", "demo", "download", "cache", "convert", "tables"):
        assert f"\n    {command} " in out


def test_version(capsys: Capture) -> None:
    import segzoo as package

    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"segzoo {package.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [[], ["no-such-command"], ["info"], ["list", "--sort", "colour"], ["list", "--columns", "name,colour"]],
)
def test_wrong_usage_exits_2_and_says_why(capsys: Capture, argv: list[str]) -> None:
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert "usage: segzoo" in err


def test_a_mistyped_name_is_one_line_with_suggestions(capsys: Capture) -> None:
    assert main(["info", "fastfcn_r50_jpu_psp_cityscape"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("segzoo: no model is named 'fastfcn_r50_jpu_psp_cityscape'; did you mean ")
    assert CANONICAL in err or SHORT in err
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    path = tmp_path / "doc.md"
    path.write_text("<!-- segzoo:table methods -->\n<!-- /segzoo:table -->\n", encoding="utf-8")
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert main(["tables", "--write", str(path)]) == 1
    assert capsys.readouterr().err == f"segzoo: {path}: cannot be written (Permission denied)\n"


def test_a_reader_that_leaves_is_no_fault() -> None:
    process = subprocess.Popen(
        segzoo("list", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_an_interrupt_exits_130_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "doc.md").write_text("<!-- segzoo:table methods -->\n<!-- /segzoo:table -->\n", encoding="utf-8")
    code = (
        "import sys, time\nfrom segzoo import cli, tables\n"
        "def wait(*args):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
        "tables.read_logs = wait\n"
        "sys.exit(cli.main(['tables']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        # What runs the tests in the background may have told its children to ignore the interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "segzoo: interrupted"


def test_python_dash_m_is_the_same_command() -> None:
    result = subprocess.run(segzoo("info", SHORT), capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    assert CANONICAL in result.stdout
