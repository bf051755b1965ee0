"""A web server on the loopback that serves ranges correctly, and goes wrong exactly as it is told."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import random
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "drop", "truncate", "stall", "long-length", "short-length", "no-length", "chunked", "chunked-cut", "ignore-range",
    "wrong-range", "416", "html", "redirect", "redirect-loop", "wrong-bytes", "gzip", "refuse", "empty", "status",
    "zero-range",
)  # fmt: skip


@dataclass
class Fault:
    """One way to go wrong: ``after`` that many bytes of the body; ``status`` with ``headers`` for the kind "status"."""

    kind: str
    after: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


@dataclass
class Seen:
    """A request as it came in, and the status it was answered with."""

    path: str
    headers: dict[str, str]
    status: int = 0


class FaultServer:
    """``files`` by path; ``script`` holds the faults of the next requests (None: answer well), first come first served.

    With ``rate`` a random fault is drawn for that share of the requests instead.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[Fault | None] = []
        self.always: dict[str, Fault] = {}
        self.seen: list[Seen] = []
        self.rate = 0.0
        self.random = random.Random(0)
        self.tags = True
        self.dates = False
        self.delay_s = 0.0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, content: bytes) -> str:
        """Serve ``content``; returns its address."""
        self.files[path] = content
        return f"{self.url}{path}"

    def next_fault(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            if seen.path in self.always:
                return self.always[seen.path]
            if self.script:
                return self.script.pop(0)
            if self.random.random() < self.rate:
                size = len(self.files.get(seen.path, b""))
                kind = self.random.choice([k for k in KINDS if k not in ("redirect-loop", "stall")])
                return Fault(kind, after=self.random.randrange(size + 1), headers={"Retry-After": "0"})
        return None

    @property
    def statuses(self) -> list[int]:
        return [seen.status for seen in self.seen]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is the point of many tests


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        owner = self.server.owner
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
        fault = owner.next_fault(seen) or Fault("drop", after=1 << 60)
        content = owner.files.get(self.path)
        if owner.delay_s:
            time.sleep(owner.delay_s)
        if fault.kind == "refuse":
            self._reset()
        elif fault.kind == "status":
            self._plain(seen, fault.status, b"no", fault.headers)
        elif fault.kind == "redirect-loop":
            self._plain(seen, 302, b"", {"Location": self.path})
        elif fault.kind == "redirect":
            self._plain(seen, 302, b"", {"Location": fault.headers.get("Location", self.path)})
        elif fault.kind == "html":
            page = b"<!DOCTYPE html><html><head><title>Please log in</title></head></html>" + b" " * fault.after
            self._plain(seen, 200, page, {"Content-Type": "text/html; charset=utf-8"})
        elif content is None:
            self._plain(seen, 404, b"nothing here", {})
        else:
            self._file(seen, content, fault)

    def _plain(self, seen: Seen, status: int, body: bytes, headers: dict[str, str]) -> None:
        seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, seen: Seen, content: bytes, fault: Fault) -> None:
        owner, total = self.server.owner, len(content)
        tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(int(hashlib.sha256(content).hexdigest()[:7], 16)))
        start = self._start(tag, date)
        if fault.kind == "416" or (start is not None and start >= total):
            return self._plain(seen, 416, b"", {"Content-Range": f"bytes */{total}"})
        if fault.kind == "ignore-range":
            start = None
        if fault.kind == "wrong-bytes":
            content = bytes(256 - byte if byte else 1 for byte in content[:64]) + content[64:]
        if fault.kind == "empty":
            content, start = b"", None
        body = content[start or 0 :]
        seen.status = 200 if start is None else 206
        if fault.kind == "gzip":
            body = gzip.compress(body, 1)
        self.send_response(seen.status)
        if start is not None:
            shown = {"wrong-range": start + 1, "zero-range": 0}.get(fault.kind, start)
            self.send_header("Content-Range", f"bytes {shown}-{total - 1}/{total}")
        if owner.tags:
            self.send_header("ETag", tag)
        if owner.dates:
            self.send_header("Last-Modified", date)
        self._body(body, fault)

    def _start(self, tag: str, date: str) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if match is None or (condition is not None and condition not in (tag, date)):
            return None
        return int(match[1])

    def _body(self, body: bytes, fault: Fault) -> None:
        if fault.kind in ("chunked", "chunked-cut"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self._chunks(body, fault)
        length = {"long-length": len(body) + 1000, "short-length": len(body) // 2}.get(fault.kind, len(body))
        if fault.kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if fault.kind == "no-length":
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        cut = fault.kind in ("drop", "truncate", "stall")
        self.wfile.write(body[: fault.after] if cut else body[:length])
        if cut and fault.after < len(body):
            self.wfile.flush()
            if fault.kind == "stall":
                self.connection.settimeout(20)
                with contextlib.suppress(OSError):
                    self.connection.recv(1)  # until the client has had enough
            elif fault.kind == "drop":
                time.sleep(0.005)  # let the bytes arrive before the reset overtakes them
                return self._reset()
        self.close_connection = self.close_connection or cut or fault.kind == "long-length"

    def _chunks(self, body: bytes, fault: Fault) -> None:
        cut = fault.after if fault.kind == "chunked-cut" else len(body)
        for i in range(0, min(cut, len(body)), 8192):
            piece = body[i : min(i + 8192, cut)]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if fault.kind == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _reset(self) -> None:
        """Close with a reset, not with a goodbye."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.wfile = _Nowhere()  # type: ignore[assignment]


class _Nowhere:
    """What the handler may flush after its connection is gone."""

    closed = True

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
