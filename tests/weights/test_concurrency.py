"""Many at once, killed, interrupted, without locks: the cache stays right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segzoo.weights import fetch
from segzoo.weights import fetching as fetching_module
from segzoo.weights.expected import Expected
from segzoo.weights.housekeeping import residue
from segzoo.weights.lock import Lock
from segzoo.weights.part import Part
from segzoo.weights.store import Store
from tests.weights.conftest import Target
from tests.weights.server import Fault, FaultServer

ROOT = Path(__file__).parents[2]


def stored(cache: Path) -> list[Path]:
    return sorted(p for p in cache.iterdir() if p.suffix in (".pth", ".safetensors"))


def child(code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


FETCH = """
import sys
from segzoo.index import Weights
from segzoo.weights import fetch
print("ready", flush=True)
sys.stdin.readline()
print(fetch(Weights((sys.argv[1],), sha256_prefix=sys.argv[2]), name="net"))
"""


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.loopback
def test_many_processes_make_one_request(server: FaultServer, target: Target, cache: Path) -> None:
    address = server.put(target.path, target.content)
    server.delay_s = 0.5
    children = [child(FETCH, address, target.sha256[:8]) for _ in range(8)]
    for process in children:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    results = []
    for process in children:
        go(process)
    for process in children:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        results.append(out.strip())
    assert len(set(results)) == 1
    assert len(server.seen) == 1
    assert Path(results[0]).read_bytes() == target.content
    assert [p.name for p in cache.iterdir() if p.suffix in (".part", ".tmp", ".lock")] == []


@pytest.mark.loopback
def test_many_threads_make_one_request(server: FaultServer, target: Target) -> None:
    address = server.put(target.path, target.content)
    server.delay_s = 0.2
    results: list[Path] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(target.weights(address), name="net"))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 12
    assert len(set(results)) == 1
    assert len(server.seen) == 1


@pytest.mark.loopback
def test_correct_without_any_lock(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A file system whose locks do nothing: everybody downloads, nobody spoils anything."""
    monkeypatch.setattr("segzoo.weights.lock._try_lock", lambda descriptor: None)
    address = server.put(target.path, target.content)
    server.rate = 0.3
    results: list[Path] = []

    def work() -> None:
        for _ in range(20):
            try:
                results.append(fetch(target.weights(address), name="net"))
                return
            except Exception:
                continue

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 12
    assert {path.read_bytes() for path in results} == {target.content}


@pytest.mark.loopback
def test_file_system_without_locks(server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def unsupported(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("segzoo.weights.lock._try_lock", unsupported)
    assert fetch(target.weights(server.put(target.path, target.content)), name="net").read_bytes() == target.content


@pytest.mark.loopback
def test_killed_and_resumed(server: FaultServer, cache: Path) -> None:
    big = Target(os.urandom(3_000_000))
    address = server.put(big.path, big.content)
    for after in (0, 1_000_000, 1_200_000):  # of what is left
        server.script = [Fault("stall", after=after)]
        process = child(FETCH, address, big.sha256[:8])
        assert process.stdout is not None
        process.stdout.readline()
        go(process)
        wanted = after if after < 1_100_000 else 2_200_000
        deadline = time.monotonic() + 20
        while sum(p.stat().st_size for p in cache.glob("*.part")) < wanted or not server.seen:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert stored(cache) == []
    path = fetch(big.weights(address), name="net")
    assert path.read_bytes() == big.content
    assert int(server.seen[-1].headers["range"].split("=")[1].rstrip("-")) >= 2_000_000
    assert "if-range" in server.seen[-1].headers
    assert residue(Store()) == []
    assert list(cache.glob("*.part*")) == []


@pytest.mark.loopback
def test_silent_lock_holder_is_not_waited_for(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    monkeypatch.setattr(fetching_module, "_HOLDER_SILENCE_S", 1.0)
    address = server.put(target.path, target.content)
    cache.mkdir()
    key = Expected(target.weights(address).filename, prefix=target.sha256[:8], identity=address).key
    process = child(
        HOLD,
        str(cache / f"{key}.lock"),
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert fetch(target.weights(address), name="net").read_bytes() == target.content
        assert "has not moved for" in caplog.text
    finally:
        process.kill()
        process.communicate()


def test_dead_lock_holder_holds_nothing(tmp_path: Path) -> None:
    process = child(
        HOLD,
        str(tmp_path / "x.lock"),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    with Lock(tmp_path / "x.lock", lambda: pytest.fail("it waited")) as lock:
        assert lock.held
    assert list(tmp_path.iterdir()) == []


def test_part_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    first = Part(tmp_path, "key", resume=True)
    first.write(b"mine")
    second = Part(tmp_path, "key", resume=True)
    assert second.size == 0
    first.give_up()
    second.give_up()
    third = Part(tmp_path, "key", resume=True)
    assert third.path.read_bytes() == b"mine"
    third.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.loopback
def test_interrupt_keeps_what_came(
    server: FaultServer, target: Target, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    address = server.put(target.path, target.content)
    write = Part.write

    def interrupted(self: Part, chunk: bytes) -> None:
        write(self, chunk)
        raise KeyboardInterrupt

    monkeypatch.setattr(Part, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(target.weights(address), name="net")
    monkeypatch.setattr(Part, "write", write)
    assert [p.stat().st_size > 0 for p in cache.glob("*.part")] == [True]
    assert fetch(target.weights(address), name="net").read_bytes() == target.content
    assert "range" in server.seen[-1].headers
