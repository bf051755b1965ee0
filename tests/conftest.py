"""For every test: a cache of its own, and no sockets but where a test says that it needs the loopback."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

_SETTINGS = (
    "SEGZOO_MIRROR",
    "SEGZOO_TIMEOUT",
    "SEGZOO_OFFLINE",
    "SEGZOO_ACCEPT_SHA256",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "HF_TOKEN",
)


class NetworkBlockedError(RuntimeError):
    """A test used the network without a mark, or left this machine."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "loopback: the test may use sockets on 127.0.0.1 (nothing else, ever)")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, or written to, the caches and settings of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SEGZOO_CACHE", str(home / "segzoo"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks connections that leave this machine; without ``@pytest.mark.loopback``, all of them."""
    loopback = request.node.get_closest_marker("loopback") is not None
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def allowed(family: int, address: Any) -> bool:
        if family not in (socket.AF_INET, socket.AF_INET6):
            return True  # a socket of this machine, such as multiprocessing's
        return loopback and str(address[0]) in ("127.0.0.1", "::1", "localhost")

    def refuse(address: Any) -> None:
        hint = "" if loopback else "; a test that needs the loopback is marked @pytest.mark.loopback"
        raise NetworkBlockedError(f"this test may not connect to {address}{hint}")

    def guarded_connect(self: socket.socket, address: Any) -> Any:
        return connect(self, address) if allowed(self.family, address) else refuse(address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> Any:
        return connect_ex(self, address) if allowed(self.family, address) else refuse(address)

    def guarded_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not allowed(socket.AF_INET, (name,)):
            raise NetworkBlockedError(f"this test may not look up {name}")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture
def cache() -> Path:
    """The directory that ``SEGZOO_CACHE`` names in this test."""
    import os

    return Path(os.environ["SEGZOO_CACHE"])
