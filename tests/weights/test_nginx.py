"""The same transfers against a web server that others wrote."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segzoo.errors import DownloadError
from segzoo.weights import fetch, fetch_address
from segzoo.weights.part import Part
from tests.weights.conftest import Target

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (apt-get install nginx-light)"),
]

CONFIGURATION = """
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log {root}/access.log;
    client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
    uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;
    server {{
        listen 127.0.0.1:{port};
        root {root}/www;
        location /slow/ {{ alias {root}/www/; limit_rate 2m; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /$1 permanent; }}
        location /circle {{ return 302 /circle; }}
        location /whole/ {{ alias {root}/www/; max_ranges 0; }}
        location /page/ {{ default_type text/html; return 200 "<html><title>Sign in</title></html>"; }}
    }}
}}
"""


class Nginx:
    def __init__(self, root: Path, port: int) -> None:
        self.root, self.url = root, f"http://127.0.0.1:{port}"

    def put(self, target: Target) -> str:
        path = self.root / "www" / target.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(target.content)
        return self.url + target.path

    def statuses(self) -> list[int]:
        time.sleep(0.1)
        return [int(line.split('" ')[1].split()[0]) for line in (self.root / "access.log").read_text().splitlines()]


@pytest.fixture
def nginx() -> Iterator[Nginx]:
    # Not below pytest's own folder: that is its user's alone, and the worker may run as another.
    with tempfile.TemporaryDirectory(prefix="segzoo-nginx-") as name:
        Path(name).chmod(0o755)
        yield from serve(Path(name))


def serve(root: Path) -> Iterator[Nginx]:
    (root / "www").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (root / "nginx.conf").write_text(CONFIGURATION.format(root=root, port=port))
    process = subprocess.Popen(["nginx", "-p", root, "-c", root / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.skip(f"nginx does not start here: {process.stderr.read().decode()}")  # type: ignore[union-attr]
            time.sleep(0.05)
        yield Nginx(root, port)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _interrupt_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Part.write

    def interrupted(self: Part, chunk: bytes) -> None:
        write(self, chunk)
        if self.size >= count:
            raise KeyboardInterrupt

    monkeypatch.setattr(Part, "write", interrupted)


def test_range_and_if_range(nginx: Nginx, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    address = nginx.put(target)
    with monkeypatch.context() as patch:
        _interrupt_after(100_000, patch)
        with pytest.raises(KeyboardInterrupt):
            fetch(target.weights(address), name="net")
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert nginx.statuses() == [200, 206]


def test_file_that_changed_since(nginx: Nginx, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Target(bytes(reversed(target.content)))
    old.path = target.path
    address = nginx.put(old)
    with monkeypatch.context() as patch:
        _interrupt_after(100_000, patch)
        with pytest.raises(KeyboardInterrupt):
            fetch(target.weights(address), name="net")
    nginx.put(target)
    os.utime(nginx.root / "www" / target.path.lstrip("/"), (1, 1))  # another date, another tag
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert nginx.statuses() == [200, 200]


def test_server_without_ranges(nginx: Nginx, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    address = nginx.put(target).replace(nginx.url, f"{nginx.url}/whole")
    with monkeypatch.context() as patch:
        _interrupt_after(100_000, patch)
        with pytest.raises(KeyboardInterrupt):
            fetch(target.weights(address), name="net")
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert nginx.statuses() == [200, 200]


def test_redirects(nginx: Nginx, target: Target) -> None:
    moved = nginx.put(target).replace(nginx.url, f"{nginx.url}/moved")
    assert fetch(target.weights(moved), name="net").read_bytes() == target.content
    with pytest.raises(DownloadError, match="redirects in a circle"):
        fetch_address(f"{nginx.url}/circle")


def test_complete_part_is_finished_without_its_bytes(
    nginx: Nginx, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the last byte, before the rename: the next attempt asks past the end and is told 416."""
    address = nginx.put(target)
    with monkeypatch.context() as patch:
        _interrupt_after(len(target.content), patch)
        with pytest.raises(KeyboardInterrupt):
            fetch(target.weights(address), name="net")
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert nginx.statuses() == [200, 416]


def test_page_and_missing_file(nginx: Nginx, target: Target) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(target.weights(f"{nginx.url}/page/net.pth", f"{nginx.url}/none/net.pth"), name="net")
    assert "titled 'Sign in'" in str(caught.value)
    assert "HTTP 404 Not Found" in str(caught.value)


def test_slow_server_is_waited_for(nginx: Nginx) -> None:
    target = Target(os.urandom(1_500_000))
    slow = nginx.put(target).replace(nginx.url, f"{nginx.url}/slow")
    assert fetch(target.weights(slow), name="net").read_bytes() == target.content
