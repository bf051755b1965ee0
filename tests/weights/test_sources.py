"""Addresses: what they mean, and in which order they are tried."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segzoo.errors import OptionError
from segzoo.weights.sources import HubFile, candidates, file_name, local_path, offline, published_path

HOST = "https://download.openmmlab.com/mmsegmentation/v0.5"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://org/repo", ("org/repo", "", "main")),
        ("hf://org/repo@v1", ("org/repo", "", "v1")),
        ("hf://org/re-po.x/a/b.pth", ("org/re-po.x", "a/b.pth", "main")),
        ("hf://org/repo/a/b.pth@refs/pr/1", ("org/repo", "a/b.pth", "refs/pr/1")),
    ],
)
def test_hub_addresses(address: str, parts: tuple[str, str, str]) -> None:
    assert HubFile.parse(address) == HubFile(*parts)


@pytest.mark.parametrize("address", ["hf://org", "hf:///x", "hf://org//x", "hf://"])
def test_bad_hub_addresses(address: str) -> None:
    with pytest.raises(OptionError, match="is not hf://organisation/repository"):
        HubFile.parse(address)


def test_local_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/net.pth") == Path("/home/me/net.pth")
    assert local_path("file:///a%20b/net.pth") == Path("/a b/net.pth")
    assert local_path("https://example.org/net.pth") is None
    assert local_path("hf://org/repo/net.pth") is None
    package = Path(sys.modules["segzoo"].__file__ or "").parent
    assert local_path("asset:net.safetensors") == package / "assets" / "net.safetensors"
    with pytest.raises(OptionError, match="s3:// is not read; use https://"):
        local_path("s3://bucket/net.pth")


@pytest.mark.parametrize(
    ("address", "path", "name"),
    [
        (f"{HOST}/fcn/net.pth", "mmsegmentation/v0.5/fcn/net.pth", "net.pth"),
        (f"{HOST}/fcn/net.pth?sig=a/b", "mmsegmentation/v0.5/fcn/net.pth", "net.pth"),
        ("https://me:pw@host/a%20b.pth", "a b.pth", "a b.pth"),
        ("hf://org/repo/x/net.pth@v1", "org/repo/x/net.pth", "net.pth"),
        ("asset:net.safetensors", None, "net.safetensors"),
        ("/data/net.pth", None, "net.pth"),
    ],
)
def test_published_paths(address: str, path: str | None, name: str) -> None:
    assert published_path(address) == path
    assert file_name(address) == name


def test_order(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"{HOST}/a.pth", f"{HOST}/b/a.pth", f"{HOST}/a.pth"]
    assert list(candidates(addresses)) == addresses[:2]
    monkeypatch.setenv("SEGZOO_MIRROR", " https://one.example/w/ , hf://org/repo\n/srv/w ")
    paths = ["mmsegmentation/v0.5/a.pth", "mmsegmentation/v0.5/b/a.pth"]
    prefixes = ["https://one.example/w", "hf://org/repo", "/srv/w"]
    assert list(candidates(addresses)) == [f"{p}/{path}" for p in prefixes for path in paths] + addresses[:2]
    assert list(candidates(["/data/net.pth"])) == ["/data/net.pth"]


@pytest.mark.parametrize(("value", "off"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("", False)])
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, off: bool) -> None:
    monkeypatch.setenv("SEGZOO_OFFLINE", value)
    assert offline() == off


def test_fetching_needs_no_torch() -> None:
    code = (
        "import sys; import segzoo.weights, segzoo.weights.commands, segzoo.weights.fetching; segzoo.weights.fetch;"
        "assert not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
