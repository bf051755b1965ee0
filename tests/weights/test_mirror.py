"""Mirrors and pins: from the published host to a directory, and from there into the index."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segzoo.errors import HashMismatchError, IndexSchemaError, OptionError, SegzooError
from segzoo.index import Entry, Weights, find, index_directory, list_models
from segzoo.index_schema import read_entries
from segzoo.weights import fetch, read
from segzoo.weights.mirror import MANIFEST, Mirrored, mirror, read_manifest
from segzoo.weights.pin import Measured, measured_by_mirror, measured_in_cache, pin
from segzoo.weights.store import Store
from tests.weights.conftest import Target
from tests.weights.files import small_state
from tests.weights.server import Fault, FaultServer

NAMES = ("fastfcn_r50_jpu_psp_cityscapes", "fast_scnn_cityscapes", "fcn_r50_d8_512x1024_40k_cityscapes")


@pytest.fixture
def published(server: FaultServer, tmp_path: Path) -> list[Entry]:
    """Three entries of the index, with files of their own on a server of ours."""
    entries = []
    for i, name in enumerate(NAMES):
        entry = find(name)
        state = {key: value + i for key, value in small_state().items()}
        torch.save({"state_dict": state, "meta": {"CLASSES": list(entry.classes)}}, tmp_path / "net.pth")
        target = Target((tmp_path / "net.pth").read_bytes(), f"/zoo/v0.5/{entry.name}/{entry.name}_2020")
        entries.append(replace(entry, weights=target.weights(server.put(target.path, target.content))))
    return entries


@pytest.mark.loopback
def test_mirror_is_written_resumed_and_used(
    server: FaultServer, published: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "mirror"
    server.always[published[1].weights.addresses[0].removeprefix(server.url)] = Fault("status", status=404)
    results = list(mirror(published, directory, progress=False))
    assert [isinstance(result, Mirrored) for result in results] == [True, False, True]
    assert "HTTP 404" in str(results[1])
    server.always.clear()
    count = len(server.seen)
    results = list(mirror(published, directory, progress=False))
    assert all(isinstance(result, Mirrored) for result in results)
    assert len(server.seen) == count + 1, "what is there is not fetched again"
    manifest = read_manifest(directory / MANIFEST)
    assert set(manifest) == {entry.weights.addresses[0].removeprefix(server.url + "/") for entry in published}
    for path, item in manifest.items():
        for name, sha256, size in (
            (path, item.sha256, item.size),
            (path.replace(".pth", ".safetensors"), item.safetensors_sha256, item.safetensors_size),
        ):
            content = (directory / name).read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, size)
    meta = read(directory / next(iter(manifest)).replace(".pth", ".safetensors")).meta
    assert meta["entry"] in {entry.name for entry in published}
    assert meta["source"].startswith(server.url)
    assert [p.name for p in directory.rglob("*") if p.suffix in (".part", ".tmp", ".lock")] == []

    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    monkeypatch.setenv("SEGZOO_MIRROR", str(directory))
    for entry in published:
        assert fetch(entry.weights, name=entry.name).exists()


@pytest.mark.loopback
def test_mirror_repairs_a_file_that_was_cut_off(published: list[Entry], tmp_path: Path, server: FaultServer) -> None:
    list(mirror(published[:1], tmp_path, progress=False))
    path = tmp_path / next(iter(read_manifest(tmp_path / MANIFEST)))
    path.write_bytes(path.read_bytes()[:100])
    (result,) = mirror(published[:1], tmp_path, progress=False)
    assert isinstance(result, Mirrored)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == result.sha256
    assert len(server.seen) == 2


def test_mirror_stays_in_its_directory(tmp_path: Path) -> None:
    entry = replace(find(NAMES[0]), weights=Weights(("https://example.org/a/%2e%2e/%2e%2e/net.pth",)))
    (result,) = mirror([entry], tmp_path / "mirror", progress=False)
    assert isinstance(result, SegzooError)
    assert "would lead out of the mirror" in str(result)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mirror"]


def test_entries_without_a_public_address_are_left_out(tmp_path: Path) -> None:
    entry = replace(find(NAMES[0]), weights=Weights(("asset:net.safetensors",)))
    assert list(mirror([entry], tmp_path, progress=False)) == []


def test_broken_manifest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"files": [{"path": "x"}]}')
    with pytest.raises(OptionError, match="is not a segzoo mirror's manifest"):
        read_manifest(tmp_path / MANIFEST)


# pins


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A small part of the index, to write into."""
    directory = tmp_path / "index"
    directory.mkdir()
    for name in ("fast_scnn.yaml", "fastfcn.yaml", "fcn.yaml"):
        shutil.copy(index_directory() / name, directory)
    return directory


def _all(directory: Path) -> dict[str, Entry]:
    paths = (path for path in directory.glob("*.yaml") if path.name not in ("backbones.yaml", "datasets.yaml"))
    return {entry.name: entry for path in paths for entry in read_entries(path)}


def test_pin_changes_two_lines_of_an_entry_and_nothing_else(index: Path) -> None:
    before = _all(index)
    texts = {path.name: path.read_text() for path in index.glob("*.yaml")}
    names = [find(name).name for name in NAMES]
    measured = {name: Measured(hashlib.sha256(name.encode()).hexdigest(), 1000 + i) for i, name in enumerate(names)}
    assert sorted(pin(index, measured)) == sorted(names)
    after = _all(index)
    assert set(after) == set(before)
    for name, entry in after.items():
        expected = before[name]
        if name in measured:
            weights = replace(expected.weights, sha256=measured[name].sha256, size=measured[name].size)
            expected = replace(expected, weights=weights)
        assert entry == expected
    for path in index.glob("*.yaml"):
        old, new = texts[path.name].splitlines(), path.read_text().splitlines()
        added = [line for line in new if line not in old]
        assert all(line.strip().startswith(("sha256:", "size:")) for line in added)
        assert [line for line in old if line not in new] == []
    assert pin(index, measured) == []


def test_every_entry_can_be_pinned(tmp_path: Path) -> None:
    index = Path(shutil.copytree(index_directory(), tmp_path / "index"))
    names = [name for name in list_models() if not find(name).weights.sha256]
    measured = {name: Measured(hashlib.sha256(name.encode()).hexdigest(), 7) for name in names}
    assert sorted(pin(index, measured)) == sorted(names)


def test_pin_refuses_to_replace_a_hash(index: Path) -> None:
    name = find(NAMES[0]).name
    pin(index, {name: Measured("a" * 64, 1)})
    texts = {path: path.read_text() for path in index.glob("*.yaml")}
    with pytest.raises(HashMismatchError, match=f"entry '{name}' has sha256 {'a' * 64}"):
        pin(index, {name: Measured("b" * 64, 1), find(NAMES[1]).name: Measured("c" * 64, 1)})
    assert {path: path.read_text() for path in index.glob("*.yaml")} == texts


def test_pin_says_when_it_cannot_place_the_lines(index: Path) -> None:
    name = find(NAMES[1]).name
    path = next(path for path in index.glob("*.yaml") if f"  {name}:" in path.read_text())
    lines, skip = [], False
    for line in path.read_text().splitlines():
        skip = skip and line.startswith("      ")
        if line == "    weights:":
            line, skip = '    weights: {addresses: ["https://example.org/net.pth"]}', True
        elif skip:
            continue
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(IndexSchemaError, match="found no block 'weights:'"):
        pin(index, {name: Measured("a" * 64, 1)})


@pytest.mark.loopback
def test_figures_come_from_the_cache_or_a_manifest(published: list[Entry], tmp_path: Path) -> None:
    fetch(published[0].weights, name=published[0].name)
    in_cache = measured_in_cache(published, Store())
    assert set(in_cache) == {published[0].name}
    list(mirror(published, tmp_path / "mirror", progress=False))
    by_mirror = measured_by_mirror(published, read_manifest(tmp_path / "mirror" / MANIFEST))
    assert set(by_mirror) == {entry.name for entry in published}
    assert by_mirror[published[0].name] == in_cache[published[0].name]
    assert json.loads((tmp_path / "mirror" / MANIFEST).read_text())["format"] == 1
