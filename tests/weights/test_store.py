"""The cache: what is in it is right, whoever writes, whatever breaks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from segzoo.errors import DownloadError, OfflineError, OptionError
from segzoo.weights import fetch, fetch_address
from segzoo.weights.expected import Expected
from segzoo.weights.housekeeping import matching, prune, residue, verify
from segzoo.weights.store import Store, cache_directory
from tests.weights.conftest import Target
from tests.weights.server import FaultServer

ROOT = Path(__file__).parents[2]


def stored(cache: Path) -> list[Path]:
    return sorted(p for p in cache.iterdir() if p.suffix in (".pth", ".safetensors"))


# where


def test_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGZOO_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("SEGZOO_CACHE")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert cache_directory() == tmp_path / "torch" / "segzoo"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "torch" / "segzoo"


def test_names_are_short_and_hold_the_hash() -> None:
    sha256 = "ab" * 32
    expected = Expected("w" * 200 + "/ü net:0.12.pth.tar?x", sha256)
    name = Store(Path("/cache")).path(expected, sha256).name
    assert sha256 in name
    assert len(name) < 140
    assert name.isascii()
    assert not set(name) & set(' :/?*"<>|\\')


# cached means no network


@pytest.mark.loopback
def test_cached_file_needs_no_network(server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    address = server.put(target.path, target.content)
    first = fetch(target.weights(address), name="net")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert fetch(target.weights(address), name="net") == first
    assert fetch(target.weights(address, full=True), name="net") == first
    assert fetch(target.weights("https://elsewhere.example/" + target.path, full=True), name="net") == first
    assert len(server.seen) == 1


@pytest.mark.parametrize("variable", ["SEGZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_means_no_network_ever(target: Target, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    for address in ("https://example.org" + target.path, "hf://org/repo/net.pth"):
        with pytest.raises(OfflineError, match=r"not in the cache, and the network is off") as caught:
            fetch(target.weights(address), name="net")
        assert target.sha256[:8] in str(caught.value)


def test_offline_still_reads_a_mirror_on_disk(target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    monkeypatch.setenv("SEGZOO_MIRROR", f"{tmp_path}/none {tmp_path}/mirror")
    copy = tmp_path / "mirror" / target.path.lstrip("/")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(target.content)
    path = fetch(target.weights("https://example.org" + target.path), name="net")
    assert path.read_bytes() == target.content
    assert path != copy


@pytest.mark.loopback
def test_mirror_comes_first(server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("/copy" + target.path, target.content)
    monkeypatch.setenv("SEGZOO_MIRROR", f"{server.url}/nothing,{server.url}/copy/")
    fetch(target.weights("https://example.org" + target.path), name="net")
    assert [seen.path for seen in server.seen] == ["/nothing" + target.path, "/copy" + target.path]


# truth


@pytest.mark.loopback
def test_prefix_is_believed_once_and_the_full_hash_ever_after(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.put(target.path, target.content)
    weights = target.weights(address)
    store = Store()
    fetch(weights, name="net")
    expected = Expected(weights.filename, prefix=weights.sha256_prefix, identity=address)
    assert store.pinned(expected) == target.sha256
    for item in store.files():
        store.remove(item)
    # Another file with the same first eight digits cannot be made here; a record of another hash stands for it.
    pin = store.directory / f"{expected.key}.pin"
    pin.write_text(json.dumps({"sha256": target.sha256[:8] + "0" * 56}))
    with pytest.raises(Exception, match="recorded when the file was first used") as caught:
        fetch(weights, name="net")
    assert target.sha256 in str(caught.value)
    monkeypatch.setenv("SEGZOO_ACCEPT_SHA256", target.sha256)
    fetch(weights, name="net")
    assert store.pinned(expected) == target.sha256


@pytest.mark.loopback
def test_mismatch_names_both_values_and_the_way_to_accept(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segzoo.errors import HashMismatchError
    from segzoo.index import Weights

    address = server.put(target.path, target.content)
    weights = Weights((address,), sha256_prefix="01234567")
    with pytest.raises(HashMismatchError) as caught:
        fetch(weights, name="net")
    assert "begins with 01234567" in str(caught.value)
    assert f"SEGZOO_ACCEPT_SHA256={target.sha256}" in str(caught.value)
    monkeypatch.setenv("SEGZOO_ACCEPT_SHA256", target.sha256[:8])
    with pytest.raises(OptionError, match="full sha256 values of 64 digits"):
        fetch(weights, name="net")
    monkeypatch.setenv("SEGZOO_ACCEPT_SHA256", "f" * 64 + "," + target.sha256.upper())
    path = fetch(weights, name="net")
    monkeypatch.delenv("SEGZOO_ACCEPT_SHA256")
    assert fetch(weights, name="net") == path, "accepted once is accepted for good"
    with pytest.raises(HashMismatchError, match="The file is refused"):
        fetch_address(address, sha256="f" * 64)


def test_full_hash_must_be_one() -> None:
    with pytest.raises(OptionError, match="64 lower-case hexadecimal digits"):
        fetch_address("https://example.org/net.pth", sha256="abc")


# files that are here already


def test_file_placed_by_hand_is_adopted(target: Target, cache: Path) -> None:
    weights = target.weights("https://example.org" + target.path)
    cache.mkdir()
    (cache / weights.filename).write_bytes(target.content)
    path = fetch(weights, name="net")
    assert target.sha256 in path.name
    assert not (cache / weights.filename).exists()


@pytest.mark.parametrize("links", [True, False], ids=["hard link", "copy"])
def test_torch_cache_is_used_if_its_hash_fits(target: Target, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(Store, "link", lambda *_: None)
    weights = target.weights("https://example.org" + target.path)
    checkpoints = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / weights.filename).write_bytes(b"half a file")
    monkeypatch.setenv("SEGZOO_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch(weights, name="net")
    (checkpoints / weights.filename).write_bytes(target.content)
    path = fetch(weights, name="net")
    assert path.read_bytes() == target.content
    assert path.samefile(checkpoints / weights.filename) == links
    assert residue(Store()) == []


def test_local_addresses_are_used_where_they_lie(target: Target, tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "my net.pth"
    file.write_bytes(target.content)
    assert fetch_address(str(file)) == file
    assert fetch_address(file.as_uri(), sha256=target.sha256) == file
    with pytest.raises(Exception, match=target.sha256):
        fetch_address(str(file), sha256="0" * 64)
    with pytest.raises(DownloadError, match="does not exist"):
        fetch_address(str(tmp_path / "none.pth"))
    with pytest.raises(DownloadError, match="is a directory"):
        fetch_address(str(tmp_path))
    with pytest.raises(OptionError, match="ftp:// is not read"):
        fetch_address("ftp://example.org/net.pth")
    assert not cache.exists() or stored(cache) == []


@pytest.mark.loopback
def test_four_files_of_one_name_stay_four(server: FaultServer) -> None:
    targets = [Target(bytes([i]) * 1000) for i in range(4)]
    paths = []
    for i, target in enumerate(targets):
        address = server.put(f"/{i}/weights.pth", target.content)
        paths.append(fetch(target.weights(address), name=f"net {i}"))
    assert [path.read_bytes() for path in paths] == [target.content for target in targets]


# damage


@pytest.fixture
def fetched(server: FaultServer, target: Target) -> tuple[FaultServer, Target, Path, str]:
    address = server.put(target.path, target.content)
    return server, target, fetch(target.weights(address), name="net"), address


@pytest.mark.loopback
@pytest.mark.parametrize("damage", ["truncated", "changed in place"])
def test_damaged_file_is_noticed_and_fetched_again(
    fetched: tuple[FaultServer, Target, Path, str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, target, path, address = fetched
    content = target.content[:1000] if damage == "truncated" else b"?" + target.content[1:]
    path.write_bytes(content)
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert "is damaged" in caplog.text
    assert len(server.seen) == 2
    assert [r.reason for r in residue(Store())] == ["damaged"]


@pytest.mark.loopback
def test_touched_file_is_hashed_and_believed(fetched: tuple[FaultServer, Target, Path, str]) -> None:
    server, target, path, address = fetched
    os.utime(path, (1, 1))
    path.with_name(path.name + ".json").unlink()
    assert fetch(target.weights(address), name="net") == path
    assert len(server.seen) == 1
    assert Store().record(path) is not None


@pytest.mark.loopback
def test_verify_and_prune(fetched: tuple[FaultServer, Target, Path, str], cache: Path) -> None:
    _, target, path, address = fetched
    store = Store()
    assert [ok for _, ok in verify(store, store.files())] == [True]
    status = path.stat()
    path.write_bytes(b"!" + target.content[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # damage that leaves size and time as they were
    assert fetch(target.weights(address), name="net") == path
    assert [ok for _, ok in verify(store, store.files())] == [False]
    (cache / "old.abc.host-0-0123456789ab.part").write_bytes(b"x")
    (cache / "old.abc.host-0-0123456789ab.part.json").write_text("{}")
    assert {r.reason for r in prune(store, dry_run=True)} == {"damaged", "an unfinished download"}
    prune(store)
    assert sorted(p.suffix for p in cache.iterdir()) == [".pin"]
    fetch(target.weights(address), name="net")
    assert [r.path.suffix for r in prune(store, matching(store, ["net"]))] == [".pth"]
    assert stored(cache) == []


# disks


def _mounted(directory: Path, options: str) -> bool:
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    return hasattr(os, "geteuid") and os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.loopback
def test_full_disk(server: FaultServer, target: Target, cache: Path) -> None:
    if not _mounted(cache, "size=200k"):
        pytest.skip("a small file system can only be mounted by root")
    try:
        address = server.put(target.path, target.content)
        with pytest.raises(DownloadError, match=r"the disk of .* is full .*are free.*segzoo cache prune.*SEGZOO_CACHE"):
            fetch(target.weights(address), name="net")
        assert [p.name for p in cache.iterdir()] == []
    finally:
        subprocess.run(["umount", str(cache)], check=True)


@pytest.mark.loopback
def test_no_room_is_told_before_a_byte_is_written(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr("segzoo.weights.part.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"is full \(300.0 kB are needed, 1.0 kB are free\)|is full \(300 kB"):
        fetch(target.weights(server.put(target.path, target.content), size=True), name="net")
    assert list(cache.iterdir()) == []


@pytest.mark.loopback
def test_password_in_an_address_is_not_shown(server: FaultServer, target: Target, cache: Path) -> None:
    address = server.put(target.path, target.content).replace("://", "://me:secret@")
    with pytest.raises(DownloadError) as caught:
        fetch_address(address + ".none")
    assert "secret" not in str(caught.value)
    path = fetch_address(address)
    assert path.name.startswith("net_20200101")
    assert "secret" not in "".join(p.name + p.read_text("latin-1") for p in cache.iterdir())


@pytest.mark.loopback
def test_read_only_cache(server: FaultServer, target: Target, cache: Path) -> None:
    address = server.put(target.path, target.content)
    if not _mounted(cache, "size=2m"):
        pytest.skip("a read-only file system can only be mounted by root")
    try:
        path = fetch(target.weights(address), name="net")
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        assert fetch(target.weights(address), name="net") == path
        other = Target(b"other" * 100)
        with pytest.raises(DownloadError, match=r"not in the cache .* cannot be written .*SEGZOO_CACHE"):
            fetch(other.weights(server.put(other.path, other.content)), name="other")
    finally:
        subprocess.run(["umount", str(cache)], check=True)


@pytest.mark.loopback
def test_cache_that_is_a_file(server: FaultServer, target: Target, cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be used"):
        fetch(target.weights(server.put(target.path, target.content)), name="net")
