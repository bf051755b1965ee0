"""Each way in which a download can go wrong, against a server that does it."""

from __future__ import annotations

import logging
import ssl
import subprocess
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from segzoo.errors import DownloadError, HashMismatchError
from segzoo.weights import fetch, fetch_address
from segzoo.weights.transport import Patience
from tests.weights.conftest import SIZE, Target
from tests.weights.server import Fault, FaultServer

pytestmark = pytest.mark.loopback


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if ".part" in p.name or p.suffix in (".tmp", ".lock"))


RECOVERABLE = {
    "reset in the middle": [Fault("drop", after=SIZE // 2)],
    "reset at once": [Fault("refuse")],
    "cut off": [Fault("truncate", after=SIZE // 3)],
    "cut off twice": [Fault("truncate", after=SIZE // 3), Fault("truncate", after=SIZE // 4)],
    "stalled": [Fault("stall", after=SIZE // 2)],
    "stalled before the first byte": [Fault("stall", after=0)],
    "announces too much": [Fault("long-length")],
    "announces no length": [Fault("no-length")],
    "chunked": [Fault("chunked")],
    "chunked and cut off": [Fault("chunked-cut", after=SIZE // 2)],
    "a 200 in place of 206": [Fault("drop", after=SIZE // 2), Fault("ignore-range")],
    "another range than asked for": [Fault("drop", after=SIZE // 2), Fault("wrong-range")],
    "a range from the start": [Fault("drop", after=SIZE // 2), Fault("zero-range")],
    "416 to a resume": [Fault("drop", after=SIZE // 2), Fault("416")],
    "busy": [Fault("status", status=503), Fault("status", status=502)],
    "too many requests": [Fault("status", status=429, headers={"Retry-After": "0"})],
    "empty": [Fault("empty")],
    "wrong bytes in a resumed half": [Fault("wrong-bytes", after=0), None],
}


@pytest.mark.parametrize("script", RECOVERABLE.values(), ids=RECOVERABLE.keys())
@pytest.mark.parametrize("full", [False, True], ids=["prefix", "sha256"])
def test_recovers(server: FaultServer, target: Target, cache: Path, script: list[Fault | None], full: bool) -> None:
    address = server.put(target.path, target.content)
    if script[0] is not None and script[0].kind == "wrong-bytes":
        # Wrong from the start is the address's fault; wrong after a resume may be the earlier half's.
        script = [Fault("drop", after=SIZE // 2), *script]
    server.script = list(script)
    path = fetch(target.weights(address, full=full), name="net")
    assert path.read_bytes() == target.content
    assert target.sha256 in path.name
    assert leftovers(cache) == []


def test_resumes_with_range_and_if_range(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.script = [Fault("drop", after=200_000)]
    fetch(target.weights(address), name="net")
    first, second = server.seen
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 200_000
    assert second.headers["if-range"].startswith('"')
    assert server.statuses == [200, 206]


def test_resumes_by_date_where_there_is_no_tag(server: FaultServer, target: Target) -> None:
    server.tags, server.dates = False, True
    address = server.put(target.path, target.content)
    server.script = [Fault("drop", after=SIZE // 2)]
    fetch(target.weights(address), name="net")
    assert server.seen[1].headers["if-range"].endswith("GMT")
    assert server.statuses == [200, 206]


def test_file_that_changed_after_a_stall(server: FaultServer, target: Target) -> None:
    old = bytes(reversed(target.content))
    address = server.put(target.path, old)
    server.script = [Fault("stall", after=SIZE // 2)]
    threading.Timer(0.1, lambda: server.put(target.path, target.content)).start()
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert server.statuses == [200, 200]


def test_file_that_changed_after_a_stall_is_not_mixed_even_without_any_hash(
    server: FaultServer, target: Target
) -> None:
    server.tags = False  # the server cannot tell either
    address = server.put("/model.pth", bytes(reversed(target.content)))
    server.script = [Fault("stall", after=SIZE // 2)]
    threading.Timer(0.1, lambda: server.put("/model.pth", target.content)).start()
    assert fetch_address(address).read_bytes() == target.content
    assert "range" not in server.seen[1].headers


def test_retry_after_in_seconds_is_honoured(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.script = [Fault("status", status=429, headers={"Retry-After": "1"})]
    started = time.monotonic()
    fetch(target.weights(address), name="net")
    assert 1.0 <= time.monotonic() - started < 10.0


def test_retry_after_as_a_date_is_honoured(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.script = [Fault("status", headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})]
    started = time.monotonic()
    fetch(target.weights(address), name="net")
    assert 0.9 <= time.monotonic() - started < 4.0


def test_a_server_that_asks_for_an_hour_is_left(server: FaultServer, target: Target) -> None:
    busy = server.put("/busy" + target.path, target.content)
    server.always["/busy" + target.path] = Fault("status", headers={"Retry-After": "3600"})
    good = server.put(target.path, target.content)
    started = time.monotonic()
    assert fetch(target.weights(busy, good), name="net").read_bytes() == target.content
    assert time.monotonic() - started < 5
    assert len(server.seen) == 2


HOPELESS = {
    "missing": (Fault("status", status=404), "HTTP 404"),
    "forbidden": (Fault("status", status=403), "HTTP 403"),
    "not public": (Fault("status", status=409), "HTTP 409"),
    "always busy": (Fault("status", status=503, headers={"Retry-After": "0"}), "HTTP 503.*4 attempts"),
    "redirects in a circle": (Fault("redirect-loop"), "redirects in a circle"),
    "a log-in page": (Fault("html"), "page .text/html, titled 'Please log in'. in place of the file"),
    "a large log-in page": (Fault("html", after=SIZE), "in place of the file"),
    "compressed": (Fault("gzip"), "compressed .gzip."),
    "always cut off": (Fault("truncate", after=100), "4 attempts"),
    "always stalled": (Fault("stall", after=100), "no byte for 0.4 s"),
    "always refused": (Fault("refuse"), "broke off"),
    "redirect to a file": (Fault("redirect", headers={"Location": "file:///etc/passwd"}), "not an address"),
    "always empty": (Fault("empty"), "empty file"),
}


@pytest.mark.parametrize(("fault", "reason"), HOPELESS.values(), ids=HOPELESS.keys())
def test_next_address_is_tried_and_every_reason_is_told(
    server: FaultServer, target: Target, cache: Path, fault: Fault, reason: str
) -> None:
    bad = server.put("/bad" + target.path, target.content)
    server.always["/bad" + target.path] = fault
    with pytest.raises(DownloadError, match=reason) as caught:
        fetch(target.weights(bad), name="net")
    message = str(caught.value)
    assert bad in message
    assert f"begin with {target.sha256[:8]}" in message
    by_hand = cache / f"net_20200101-{target.sha256[:8]}.pth"
    assert str(by_hand) in message
    good = server.put(target.path, target.content)
    assert fetch(target.weights(bad, good), name="net").read_bytes() == target.content
    assert leftovers(cache) == []


@pytest.mark.parametrize("kind", ["short-length", "wrong-bytes"])
def test_wrong_file_is_refused(server: FaultServer, target: Target, cache: Path, kind: str) -> None:
    address = server.put(target.path, target.content)
    server.always[target.path] = Fault(kind)
    with pytest.raises(HashMismatchError, match=target.sha256[:8]):
        fetch(target.weights(address), name="net")
    assert [p for p in cache.iterdir() if p.suffix == ".pth"] == []


def test_announced_length_against_the_index(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.always[target.path] = Fault("short-length")
    with pytest.raises(DownloadError, match=f"announces {SIZE // 2} bytes where the index has {SIZE}"):
        fetch(target.weights(address, full=True, size=True), name="net")


def test_too_long_length_with_the_whole_body_is_no_error(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.always[target.path] = Fault("long-length")
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert len(server.seen) == 1


def test_no_length_and_no_hash_is_refused(server: FaultServer, target: Target) -> None:
    address = server.put("/model.pth", target.content)
    server.always["/model.pth"] = Fault("no-length")
    with pytest.raises(DownloadError, match="cut-off file would go unnoticed"):
        fetch_address(address)
    assert fetch_address(address, sha256=target.sha256).read_bytes() == target.content


def test_a_mirror_goes_on_where_the_other_broke_off(server: FaultServer, target: Target) -> None:
    dying = server.put("/dying" + target.path, target.content)
    server.script = [Fault("drop", after=SIZE // 2), Fault("status", status=404)]
    good = server.put(target.path, target.content)
    assert fetch(target.weights(dying, good), name="net").read_bytes() == target.content
    last = server.seen[-1]
    assert last.path == target.path
    assert int(last.headers["range"].split("=")[1].rstrip("-")) >= SIZE // 2
    assert "if-range" not in last.headers


def test_progress_earns_patience(server: FaultServer) -> None:
    content = Target(b"x" * 12_000_000)
    address = server.put(content.path, content.content)
    server.script = [Fault("drop", after=1_500_000)] * 7  # more failures than attempts, each a step further
    assert fetch(content.weights(address), name="net").stat().st_size == 12_000_000


def test_trickle_is_a_stall(server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.weights import server as module

    def drip(self: module._Handler, body: bytes, fault: Fault) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for i in range(40):
            self.wfile.write(body[i : i + 1])
            self.wfile.flush()
            time.sleep(0.05)

    address = server.put(target.path, target.content)
    monkeypatch.setattr(module._Handler, "_body", drip)
    with pytest.raises(DownloadError, match=r"only \d+ bytes came in"):
        fetch(target.weights(address), name="net")


def test_weights_may_begin_like_a_tag(server: FaultServer) -> None:
    target = Target(b"<h\0\0\0\0\0\0{" + b"x" * 30_000)
    address = server.put(target.path, target.content)
    assert fetch(target.weights(address), name="net").read_bytes() == target.content


def test_redirect_is_followed_and_unreachable_host_is_told(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.always["/old"] = Fault("redirect", headers={"Location": address})
    dead = "http://127.0.0.1:9/net.pth"
    path = fetch(target.weights(dead, f"{server.url}/old"), name="net")
    assert path.read_bytes() == target.content
    with pytest.raises(DownloadError, match=r"cannot connect: .*refused.*2 attempts"):
        fetch_address(dead)


def test_invalid_certificate_is_never_accepted(tmp_path: Path, target: Target, server: FaultServer) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.put(target.path, target.content)
    address = server.url.replace("http://", "https://") + target.path
    with pytest.raises(DownloadError, match=r"TLS certificate is not valid: self.signed") as caught:
        fetch(target.weights(address), name="net")
    assert "verif" not in str(caught.value).lower().replace("not valid", "")


def test_from_https_to_http_is_refused() -> None:
    import requests

    from segzoo.weights import transport

    hop, end = requests.Response(), requests.Response()
    hop.url, end.url = "https://host/net.pth", "http://host/net.pth"
    end.history = [hop]
    with pytest.raises(transport.AddressError, match=r"redirects from https to http://host/net.pth"):
        transport._refuse_downgrade(end)


def test_timeout_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from segzoo.errors import OptionError

    monkeypatch.undo()
    monkeypatch.setenv("SEGZOO_TIMEOUT", "4.5")
    patience = Patience.from_environment()
    assert (patience.read_timeout, patience.connect_timeout) == (4.5, 4.5)
    monkeypatch.setenv("SEGZOO_TIMEOUT", "soon")
    with pytest.raises(OptionError, match="SEGZOO_TIMEOUT='soon' must be a positive number"):
        Patience.from_environment()


def test_bar_shows_the_whole_file_once(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    address = server.put(target.path, target.content)
    server.script = [Fault("drop", after=SIZE // 2)]
    fetch(target.weights(address), name="net")
    shown = capsys.readouterr().err
    assert "300k/300k" in shown.split("\r")[-1]
    assert "net: 100%" in shown.split("\r")[-1]
    assert "broke off" not in shown.split("\r")[-1]
    assert shown.count("\n") == 1


def test_nothing_is_printed_without_a_terminal(
    server: FaultServer, target: Target, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fetch(target.weights(server.put(target.path, target.content)), name="net")
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
