"""The weight hub's bars: downloads under faults, many processes, kills, the rate, and loading from the store.

    python benchmarks/downloads.py                       # all of them, figures on the screen
    python benchmarks/downloads.py rate load --log benchmarks/logs/downloads.jsonl

Everything runs on the loopback, in a temporary cache. ``rate`` needs curl, and takes nginx as the server where it is
installed. One JSON line per part is appended to the log, with the machine, its load and the versions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.loopback import nginx, slow_server  # noqa: E402
from segzoo import records  # noqa: E402
from segzoo.errors import SegzooError  # noqa: E402
from segzoo.index import Weights  # noqa: E402
from segzoo.weights import fetch  # noqa: E402
from segzoo.weights.hashing import file_sha256  # noqa: E402
from segzoo.weights.housekeeping import residue  # noqa: E402
from segzoo.weights.store import Store  # noqa: E402
from segzoo.weights.transport import Patience  # noqa: E402
from tests.weights.server import FaultServer  # noqa: E402

MEGABYTE = 1_000_000
CHILD = """
import sys
from segzoo.index import Weights
from segzoo.weights import fetch
print("ready", flush=True)
sys.stdin.readline()
print(fetch(Weights((sys.argv[1],), sha256_prefix=sys.argv[2]), name="benchmark", progress=False))
"""


@contextmanager
def temporary_cache() -> Iterator[Path]:
    """An empty cache that ``SEGZOO_CACHE`` names."""
    with tempfile.TemporaryDirectory(prefix="segzoo-downloads-") as folder:
        os.environ["SEGZOO_CACHE"] = str(Path(folder) / "cache")
        os.environ["TORCH_HOME"] = str(Path(folder) / "torch")
        yield Path(folder)


def leftovers(cache: Path) -> list[str]:
    """Temporary files of every kind that are still in the cache."""
    return sorted(p.name for p in cache.iterdir() if ".part" in p.name or p.suffix in (".tmp", ".lock"))


def under_faults(count: int = 1000, threads: int = 8, rate: float = 0.5, seed: int = 0) -> dict[str, Any]:
    """``count`` files through a server of which that share of the answers goes wrong in a random way.

    A download that is given up is asked for again, as a person would; at most 30 times.
    """
    Patience.from_environment = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls: Patience(connect_timeout=2, read_timeout=0.5, attempts=4, backoff=0.002)
    )
    draw = random.Random(seed)
    contents = [draw.randbytes(draw.randrange(1, 400_000)) for _ in range(count)]
    calls: Counter[int] = Counter()
    errors: Counter[str] = Counter()
    with temporary_cache() as folder, FaultServer() as server:
        server.rate, server.random = rate, random.Random(seed)
        todo = list(range(count))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    if not todo:
                        return
                    i = todo.pop()
                sha256 = hashlib.sha256(contents[i]).hexdigest()
                address = server.put(f"/{i}/net-{sha256[:8]}.pth", contents[i])
                for call in range(1, 31):
                    try:
                        fetch(Weights((address,), sha256_prefix=sha256[:8]), name=f"net {i}", progress=False)
                        calls[call] += 1
                        break
                    except SegzooError as error:
                        errors[type(error).__name__] += 1

        started = time.perf_counter()
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - started
        stored = list(Store().files())
        right = {hashlib.sha256(content).hexdigest() for content in contents}
        wrong = [item for item in stored if file_sha256(item.path) != item.key or item.key not in right]
        return {
            "kind": "downloads.faults",
            "downloads": count,
            "fault_rate": rate,
            "requests": len(server.seen),
            "finished": sum(calls.values()),
            "by_calls": {str(call): number for call, number in sorted(calls.items())},
            "given_up": dict(errors),
            "files": len(stored),
            "wrong_files": len(wrong),
            "left_over": len(leftovers(folder / "cache")),
            "seconds": round(seconds, 1),
            "bar": "0 wrong files, 0 left-over files",
            "met": not wrong and not leftovers(folder / "cache") and len(stored) == count,
        }


def spawn(address: str, prefix: str) -> subprocess.Popen[str]:
    """A process that fetches when its standard input says so."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, address, prefix],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def release(process: subprocess.Popen[str]) -> None:
    """Let a waiting process go."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def many_processes(count: int = 32, size: int = 20 * MEGABYTE) -> dict[str, Any]:
    """``count`` processes ask for one file at the same moment."""
    content = random.Random(1).randbytes(size)
    sha256 = hashlib.sha256(content).hexdigest()
    with temporary_cache() as folder, FaultServer() as server:
        address = server.put(f"/net-{sha256[:8]}.pth", content)
        processes = [spawn(address, sha256[:8]) for _ in range(count)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        started = time.perf_counter()
        for process in processes:
            release(process)
        results = [process.communicate()[0].strip() for process in processes]
        seconds = time.perf_counter() - started
        right = len(set(results)) == 1 and file_sha256(Path(results[0])) == sha256
        return {
            "kind": "downloads.processes",
            "processes": count,
            "bytes": size,
            "gets": len(server.seen),
            "all_got_the_file": right and all(process.returncode == 0 for process in processes),
            "left_over": len(leftovers(folder / "cache")),
            "seconds": round(seconds, 2),
            "bar": "1 GET",
            "met": len(server.seen) == 1 and right,
        }


def kills(count: int = 20, size: int = 40 * MEGABYTE, seed: int = 0) -> dict[str, Any]:
    """kill -9 at random moments of a download of some two seconds, each going on from the last; then success."""
    draw = random.Random(seed)
    content = draw.randbytes(size)
    sha256 = hashlib.sha256(content).hexdigest()
    moments, sizes = [], []
    with temporary_cache() as folder, slow_server(folder / "www", content, f"net-{sha256[:8]}.pth") as address:
        cache = folder / "cache"
        for _ in range(count):
            process = spawn(address, sha256[:8])
            assert process.stdout is not None
            process.stdout.readline()
            moment = draw.uniform(0, 0.25)
            release(process)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            moments.append(round(moment, 3))
            sizes.append(sum(path.stat().st_size for path in cache.glob("*.part")) if cache.exists() else 0)
            assert not list(cache.glob("*.pth")), "it was done before the last kill: make the file larger"
        process = spawn(address, sha256[:8])
        out, err = process.communicate("\n")
        assert process.returncode == 0, err
        right = file_sha256(Path(out.split()[-1])) == sha256
        return {
            "kind": "downloads.kills",
            "kills": count,
            "bytes": size,
            "moments_s": moments,
            "bytes_after_kill": sizes,
            "success": right,
            "left_over": len(leftovers(cache)) + len(residue(Store(cache))),
            "bar": "success after 20 kills",
            "met": right and not leftovers(cache),
        }


def rate(size: int = 250 * MEGABYTE, repeats: int = 7) -> dict[str, Any]:
    """Download, hash, write and fsync against ``curl -o``, which hashes nothing and leaves the writing to the system.

    The two take turns. sha256 alone is measured too: on a processor without instructions for it, that is the limit.
    """
    content = os.urandom(size)
    sha256 = hashlib.sha256(content).hexdigest()
    before, started = time.process_time(), time.perf_counter()
    hashlib.sha256(content)
    hash_rate = size / (time.perf_counter() - started) / MEGABYTE
    hash_processor = time.process_time() - before
    curl_rates: list[float] = []
    own_rates: list[float] = []
    synced_rates: list[float] = []
    processor: list[float] = []
    with temporary_cache() as folder:
        directory = folder / "www"
        directory.mkdir()
        (directory / "net.pth").write_bytes(content)
        with nginx(directory) as address:
            weights = Weights((f"{address}/net.pth",), sha256=sha256, size=size)
            curl = ["curl", "-sf", "-o", str(folder / "by-curl"), f"{address}/net.pth"]
            for i in range(repeats + 1):
                shutil.rmtree(folder / "cache", ignore_errors=True)
                os.sync()
                figures = [timed(lambda: subprocess.run(curl, check=True))]
                os.sync()
                before = time.process_time()
                figures.append(timed(lambda: fetch(weights, name="benchmark", progress=False)))
                processor.append(time.process_time() - before)
                (folder / "by-curl").unlink()
                os.sync()
                figures.append(timed(lambda: (subprocess.run(curl, check=True), subprocess.run(["sync"], check=True))))
                if i:  # the first round warms up
                    for rates, seconds in zip((curl_rates, own_rates, synced_rates), figures, strict=True):
                        rates.append(size / seconds / MEGABYTE)
    share = statistics.median(own_rates) / statistics.median(curl_rates)
    return {
        "kind": "downloads.rate",
        "bytes": size,
        "repeats": repeats,
        "curl_mb_s": spread(curl_rates),
        "curl_and_sync_mb_s": spread(synced_rates),
        "segzoo_mb_s": spread(own_rates),
        "sha256_alone_mb_s": round(hash_rate),
        "segzoo_processor_s": round(statistics.median(processor), 2),
        "sha256_alone_processor_s": round(hash_processor, 2),
        "share_of_curl": round(share, 3),
        "share_of_curl_and_sync": round(statistics.median(own_rates) / statistics.median(synced_rates), 3),
        "bar": "0.40 of curl",
        "met": share >= 0.4,
    }


def timed(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: list[float], digits: int = 0) -> dict[str, float]:
    """Median, quartiles and number of values."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, digits), "q1": round(low, digits), "q3": round(high, digits), "n": len(values)}


def load(name: str = "pspnet_r101_d8_512x1024_40k_cityscapes", repeats: int = 9) -> dict[str, Any]:
    """From the file to a loaded model: torch.load and load_state_dict, against the store's file mapped into memory.

    Building is left out of both; the two take turns. Since mapped pages are read when first touched, both are also
    measured with every tensor summed up once, which a first forward pass would do.
    """
    import torch

    from segzoo.build import build
    from segzoo.index import find
    from segzoo.segmentor import Segmentor
    from segzoo.weights import load_into, read

    entry = find(name)
    times: dict[str, list[float]] = {key: [] for key in ("torch", "torch_touched", "segzoo", "segzoo_touched")}

    def touch(model: torch.nn.Module) -> float:
        return sum(float(value.sum()) for value in model.state_dict().values())

    with temporary_cache() as folder:
        torch.manual_seed(0)
        source = folder / "net.pth"
        torch.save({"meta": {}, "state_dict": build(entry, model_class=Segmentor).state_dict()}, source)
        sha256 = file_sha256(source)
        weights = Weights((str(source),), sha256=sha256)
        read(fetch(weights, name="benchmark", progress=False))  # the first use keeps it as safetensors
        path = fetch(weights, name="benchmark", progress=False)
        assert path.suffix == ".safetensors"
        target = build(entry, model_class=Segmentor)
        for i in range(repeats + 1):
            started = time.perf_counter()
            target.load_state_dict(torch.load(source, map_location="cpu", weights_only=True)["state_dict"])
            plain = time.perf_counter() - started
            reference = touch(target)
            plain_touched = time.perf_counter() - started
            fresh = build(entry, model_class=Segmentor, device="meta")
            started = time.perf_counter()
            load_into(fresh, read(fetch(weights, name="benchmark", progress=False)).tensors, source="benchmark")
            mapped = time.perf_counter() - started
            assert touch(fresh) == reference
            mapped_touched = time.perf_counter() - started
            if i:
                for key, value in zip(times, (plain, plain_touched, mapped, mapped_touched), strict=True):
                    times[key].append(value * 1000)
            del fresh
        medians = {key: statistics.median(values) for key, values in times.items()}
        return {
            "kind": "downloads.load",
            "model": name,
            "bytes": source.stat().st_size,
            "repeats": repeats,
            **{f"{key}_ms": spread(values, 1) for key, values in times.items()},
            "share": round(medians["segzoo"] / medians["torch"], 3),
            "share_touched": round(medians["segzoo_touched"] / medians["torch_touched"], 3),
            "bar": "0.50 of torch.load and load_state_dict",
            "met": medians["segzoo"] <= 0.5 * medians["torch"],
        }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "faults": under_faults,
    "processes": many_processes,
    "kills": kills,
    "rate": rate,
    "load": load,
}


def circumstances() -> dict[str, Any]:
    """Where and when a figure is taken; hashing is what limits the rate, so that the processor's help counts."""
    import requests
    import safetensors

    found = records.environment()
    found["versions"] |= {"requests": requests.__version__, "safetensors": safetensors.__version__}
    found["hardware"]["sha_instructions"] = any(
        "sha_ni" in line or " sha2 " in line for line in _lines("/proc/cpuinfo")
    )
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--log", type=Path, help="a .jsonl file to append to")
    args = parser.parse_args()
    met = True
    for name in args.part or PARTS:
        before = circumstances()
        record = {**PARTS[name](), "environment": before}
        met &= record["met"]
        print(json.dumps(record, indent=1), flush=True)
        if args.log:
            records.append(args.log, record)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
