"""Web servers on the loopback for the benchmarks: nginx, or the tests' own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.weights.server import FaultServer

__all__ = ["nginx", "slow_server"]


@contextmanager
def slow_server(directory: Path, content: bytes, name: str) -> Iterator[str]:
    """nginx at 16 MB/s, or the test server (which is as fast as it can)."""
    if shutil.which("nginx") is None:
        with FaultServer() as server:
            server.delay_s = 0.05
            yield server.put(f"/{name}", content)
        return
    directory.mkdir(parents=True)
    (directory / name).write_bytes(content)
    with nginx(directory, "limit_rate 16m;") as address:
        yield f"{address}/{name}"


@contextmanager
def nginx(directory: Path, extra: str = "") -> Iterator[str]:
    """nginx serving a directory on a free port of the loopback."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for parent in (directory, directory.parent):
        parent.chmod(0o755)
    configuration = directory.parent / "nginx.conf"
    temporary = " ".join(f"{n}_temp_path {directory.parent}/{n};" for n in ("proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text(
        f"daemon off; pid {directory.parent}/pid; error_log {directory.parent}/error.log; events {{ }}\n"
        f"http {{ access_log off; sendfile on; client_body_temp_path {directory.parent}/body; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; root {directory}; {extra} }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-p", str(directory.parent), "-c", str(configuration)], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
