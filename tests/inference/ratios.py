"""Processor time and peak memory of ``predict`` beside the published chain written out plainly.

    python -m tests.inference.ratios                  # the cases below; a JSON line each
    python -m tests.inference.ratios pspnet_r50_d8_769x769_40k_cityscapes 1024 2048

Both run on one thread, with the same weights (drawn from the tensors' names) on the same drawn picture, each in a
process of its own; ``optimized`` is ``predict`` of the model after ``optimize()``. Processor time is used because it
is steady on a machine that others use too. Memory is the peak of resident memory in the call, above that before it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import segzoo
from benchmarks.parity import GOLDEN, fill, names
from segzoo.index import find
from segzoo.inference.options import network_size, resolve
from tests.inference.plain import picture, plain_scores

CASES = [
    ("segformer_mit_b0_512x512_160k_ade20k", 1500, 2000),
    ("segmenter_vit_t_mask_8x1_512x512_160k_ade20k", 512, 2048),
    ("fast_scnn_lr0_12_8x4_160k_cityscapes", 1024, 2048),
    ("cgnet_680x680_60k_cityscapes", 1024, 2048),
    ("bisenetv2_fcn_4x4_1024x1024_160k_cityscapes", 1024, 2048),
    ("pspnet_r50_d8_512x1024_40k_cityscapes", 512, 1024),
    ("deeplabv3plus_r50_d8_512x1024_40k_cityscapes", 512, 1024),
    ("pspnet_r50_d8_769x769_40k_cityscapes", 1024, 2048),
]
WAYS = ("plain", "predict", "optimized")
REPEATS = 3


def loaded(name: str) -> segzoo.model.Model:
    """The model with the reference's weights for its architecture."""
    model = segzoo.load(name, pretrained=False)
    for reference in names():
        entry = find(reference)
        if (entry.method, entry.architecture.name) == (model.entry.method, model.entry.architecture.name):
            about = json.loads((GOLDEN / "architectures" / f"{reference}.json").read_text())
            fill(model, about["norm_scale"], about["tied"])
            break
    return model


def peak(reset: bool = False) -> int:
    """Peak of resident memory in bytes since it was last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(way: str, name: str, height: int, width: int, folder: str) -> None:
    torch.set_num_threads(1)
    model, image = loaded(name), picture(height, width)
    started = time.process_time()
    ready = model.optimize() if way == "optimized" else model
    preparing = time.process_time() - started
    options = resolve(model.entry, model.num_classes)

    def run() -> np.ndarray:
        if way != "plain":
            return ready.predict(image, resize="entry").mask
        (size,) = network_size(height, width, options, 1.0)
        scores = plain_scores(model, image, [size], crop=options.crop, stride=options.stride)
        return scores.argmax(0).to(torch.uint8).numpy()

    before, seconds = peak(reset=True), float("inf")
    mask = run()
    memory = (
        peak() - before
    )  # of the first call: freed memory stays with the process and would hide that of a later one
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        seconds = min(seconds, time.process_time() - started)
    np.save(Path(folder) / f"{way}.npy", mask)
    print(json.dumps({"seconds": seconds, "bytes": memory, "preparing": preparing}))


def compare(name: str, height: int, width: int, folder: str) -> dict[str, object]:
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        command = [sys.executable, "-m", "tests.inference.ratios", "--one", way, name, str(height), str(width), folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    masks = {way: np.load(Path(folder) / f"{way}.npy") for way in WAYS}
    row: dict[str, object] = {"name": name, "size": [height, width]}
    for way in WAYS[1:]:
        row[way] = {
            "time": round(found["plain"]["seconds"] / found[way]["seconds"], 2),
            "memory": round(found["plain"]["bytes"] / found[way]["bytes"], 2),
            "same labels": round(float((masks["plain"] == masks[way]).mean()), 6),
        }
    row["seconds"] = {way: round(found[way]["seconds"], 3) for way in WAYS}
    row["MiB"] = {way: round(found[way]["bytes"] / 2**20) for way in WAYS}
    row["seconds to prepare"] = round(found["optimized"]["preparing"], 2)
    return row


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        _, way, name, height, width, folder = arguments
        measure(way, name, int(height), int(width), folder)
        return
    import tempfile

    cases = [(arguments[0], int(arguments[1]), int(arguments[2]))] if arguments else CASES
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            print(json.dumps(compare(*case, folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
