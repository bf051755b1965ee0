"""The hub's commands, as a person or a program uses them."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segzoo.errors import UnknownNameError
from segzoo.index import find
from segzoo.weights import commands
from segzoo.weights.store import Store
from segzoo.weights.units import human_size
from tests.weights.conftest import Target
from tests.weights.files import small_state
from tests.weights.server import Fault, FaultServer

NAMES = ("fast_scnn_cityscapes", "fastfcn_r50_jpu_psp_cityscapes")


def segzoo(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="segzoo")
    commands.add_commands(parser.add_subparsers())
    args = parser.parse_args([str(argument) for argument in arguments])
    code: int = args.run(args)
    return code


@pytest.fixture
def zoo(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two entries whose weights lie on a server of ours."""
    entries = {}
    for i, name in enumerate(NAMES):
        torch.save({k: v + i for k, v in small_state().items()}, tmp_path / "net.pth")
        target = Target((tmp_path / "net.pth").read_bytes(), f"/zoo/{name}/{name}_2020")
        entry = find(name)
        entries[entry.name] = replace(entry, weights=target.weights(server.put(target.path, target.content)))
    monkeypatch.setattr(commands, "find", lambda name: entries[find(name).name])
    return entries


@pytest.mark.loopback
def test_download(zoo: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert segzoo("download", *NAMES) == 0
    out, err = capsys.readouterr()
    rows = {line.split("  ")[0]: line.split("  ")[1:] for line in out.splitlines()}
    assert set(rows) == set(zoo)
    assert all(Path(path).is_file() and size.endswith("kB") for path, size in rows.values())
    assert "2 of 2 files are in the cache" in err
    assert segzoo("download", "--json", *NAMES) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [find(name).name for name in NAMES]
    assert len(server.seen) == 2


@pytest.mark.loopback
def test_download_goes_on_after_a_failure(
    zoo: dict[str, Any], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = zoo[find(NAMES[0]).name].weights.addresses[0]
    server.always[bad.removeprefix(server.url)] = Fault("status", status=403)
    assert segzoo("download", *NAMES) == 1
    out, err = capsys.readouterr()
    assert find(NAMES[1]).name in out
    assert f"{bad}\n    HTTP 403" in err
    assert "1 of 2 files are in the cache" in err


def test_download_of_nothing() -> None:
    with pytest.raises(UnknownNameError, match="no model fits 'nosuch_"):
        segzoo("download", "nosuch_*")
    with pytest.raises(SystemExit):
        segzoo("download", "fcn*", "--jobs", "0")


@pytest.mark.loopback
def test_cache(zoo: dict[str, Any], cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segzoo("cache", "list") == 0
    assert "0 files, 0 B" in capsys.readouterr().err
    segzoo("download", *NAMES)
    capsys.readouterr()
    assert segzoo("cache", "list") == 0
    out, err = capsys.readouterr()
    assert all(name in out for name in zoo)
    assert f"2 files, {human_size(sum(p.stat().st_size for p in cache.glob('*.pth')))}, in {cache}" in err
    assert segzoo("cache", "list", "fastfcn", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == find(NAMES[1]).name
    assert Path(row["path"]).stat().st_size == row["bytes"]
    assert segzoo("cache", "verify") == 0
    Path(row["path"]).write_bytes(b"damage")
    capsys.readouterr()
    assert segzoo("cache", "verify") == 1
    out, err = capsys.readouterr()
    assert f"DAMAGED {Path(row['path']).name}" in out
    assert "2 files hashed, 1 damaged and set aside" in err
    assert segzoo("cache", "prune", "--dry-run") == 0
    assert "(damaged)" in capsys.readouterr().out
    assert segzoo("cache", "prune") == 0
    assert [stored.record.name for stored in Store().files() if stored.record] == [find(NAMES[0]).name]
    assert segzoo("cache", "prune", "--all", "--json") == 0
    assert list(Store().files()) == []


@pytest.mark.loopback
def test_prune_originals(zoo: dict[str, Any], cache: Path) -> None:
    from segzoo.weights import fetch, read

    entries = list(zoo.values())
    for entry in entries:
        path = fetch(entry.weights, name=entry.name)
        if entry is entries[0]:
            read(path)
    segzoo("cache", "prune", "--originals")
    assert sorted(stored.path.suffix for stored in Store().files()) == [".pth", ".safetensors"]
    assert fetch(entries[0].weights, name="x").suffix == ".safetensors"
    segzoo("cache", "prune", "--older-than", "1")
    assert len(list(Store().files())) == 2


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from segzoo.weights import read

    torch.save({"state_dict": small_state()}, tmp_path / "latest.pth")
    out = tmp_path / "street.safetensors"
    assert segzoo("convert", tmp_path / "latest.pth", "--out", out, "--entry", NAMES[0]) == 0
    assert str(out) in capsys.readouterr().out
    meta = read(out).meta
    assert meta["entry"] == find(NAMES[0]).name
    assert json.loads(meta["classes"]) == list(find(NAMES[0]).classes)
    published = tmp_path / find(NAMES[1]).weights.filename
    torch.save({"state_dict": small_state()}, published)
    assert segzoo("convert", published) == 0
    assert read(published.with_suffix(".safetensors")).meta["source"] == find(NAMES[1]).weights.addresses[0]


@pytest.mark.loopback
def test_mirror_and_pin(
    zoo: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], server: FaultServer
) -> None:
    import shutil

    from segzoo.index import index_directory

    assert segzoo("mirror", *NAMES, tmp_path / "mirror") == 0
    assert "2 of 2 models" in capsys.readouterr().err
    index = shutil.copytree(index_directory(), tmp_path / "index")
    manifest = tmp_path / "mirror" / "manifest.json"
    assert segzoo("index", "pin", *NAMES, "--manifest", manifest, "--index", index) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "2 of 2 entries measured, 2 written" in err
    segzoo("download", NAMES[0])
    assert segzoo("index", "pin", *NAMES, "--index", index, "--json") == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["changed"] == []
    with pytest.raises(Exception, match="there is no manifest"):
        segzoo("index", "pin", NAMES[0], "--manifest", tmp_path / "none.json")


@pytest.mark.parametrize(
    "command", [["download"], ["cache"], ["cache", "prune"], ["convert"], ["mirror"], ["index", "pin"]]
)
def test_help_shows_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        segzoo(*command, "--help")
    shown = capsys.readouterr().out
    assert "example" in shown
    assert f"segzoo {command[0]}" in shown.split("example", 1)[1]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_940, "99.9 kB"), (99_960, "100 kB"), (262_144_000, "262 MB"),
     (999_600, "1.0 MB"), (5e9, "5.0 GB"), (7e12, "7.0 TB")],
)  # fmt: skip
def test_sizes_for_people(count: float, text: str) -> None:
    assert human_size(count) == text
