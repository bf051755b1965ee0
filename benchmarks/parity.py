"""Compares every architecture's logits with the published implementation's.

    python -m benchmarks.parity                  # all architectures, a table
    python -m benchmarks.parity 'pspnet*' --log benchmarks/logs/parity.jsonl

No weight file is needed: weights are drawn from the tensors' names, and the reference figures were computed with the
same ones. ``norm_scale`` in a figure's file widens each batch norm's statistics so that activations stay near unit
variance. Agreement is an error of at most 1e-4 of the logits' standard deviation, at every sampled position, for the
decode head and each auxiliary head.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segzoo import records
from segzoo.build import build
from segzoo.index import find
from segzoo.layers.resize import resize
from segzoo.segmentor import Segmentor

__all__ = ["GOLDEN", "TOLERANCE", "Result", "compare", "fill", "image", "names", "values"]

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
TOLERANCE = 1e-4


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of a tensor, drawn from a generator that its published name seeds."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.rpartition(".")[2]
    count = int(np.prod(shape, dtype=np.int64))
    if leaf in ("running_mean", "bias") and (leaf == "running_mean" or len(shape) < 2):
        flat = 0.1 * draw.standard_normal(count)
    elif leaf == "running_var" or len(shape) < 2:
        flat = 0.5 + draw.random_sample(count)
    else:
        flat = (0.5 if shape[0] == 1 else (count // shape[0]) ** -0.5) * draw.standard_normal(count)
    return flat.astype(np.float32).reshape(shape)


def fill(model: nn.Module, norm_scale: Mapping[str, float], tied: Mapping[str, str] | None = None) -> None:
    """Sets every floating tensor of ``model`` by :func:`values`; ``tied`` keys take another key's values."""
    state = model.state_dict()
    for key, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        name = (tied or {}).get(key, key)
        value = values(name, tuple(tensor.shape))
        norm, _, leaf = name.rpartition(".")
        if norm in norm_scale and leaf == "running_var":
            value = value * np.float32(norm_scale[norm])
        elif norm in norm_scale and leaf == "running_mean":
            value = value * np.float32(norm_scale[norm] ** 0.5)
        state[key] = torch.from_numpy(value)
    model.load_state_dict(state)


def image(height: int, width: int, seed: int = 0) -> Tensor:
    """A test input, float32 (1, 3, height, width): waves and noise, about as spread as a normalised picture."""
    draw = np.random.RandomState(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for _ in range(3):
        waves = np.zeros((height, width))
        for _ in range(4):
            fy, fx, phase = draw.random_sample(3)
            waves += np.sin(2 * np.pi * (fy * 6 * rows / height + fx * 6 * columns / width + phase))
        channels.append(waves / 1.5 + 0.3 * draw.standard_normal((height, width)))
    return torch.from_numpy(np.stack(channels)[None].astype(np.float32))


@dataclass(frozen=True)
class Result:
    """The largest error of one architecture, in standard deviations of the tensor it is in."""

    name: str
    method: str
    error: float

    @property
    def agrees(self) -> bool:
        return self.error <= TOLERANCE


def names(reference: Path = GOLDEN) -> list[str]:
    """Architectures that ``reference`` has figures for, by the published name of the entry that stands for each."""
    return sorted(path.stem for path in (reference / "logits").glob("*.npz"))


def _errors(figures: Mapping[str, np.ndarray], outputs: Mapping[str, Tensor]) -> Iterator[float]:
    for label, output in outputs.items():
        shape = tuple(int(n) for n in figures[f"{label}.shape"])
        if tuple(output.shape) != shape:
            raise ValueError(f"{label} has shape {tuple(output.shape)}, the reference {shape}")
        found = output.flatten()[torch.from_numpy(figures[f"{label}.index"].astype(np.int64))]
        expected = torch.from_numpy(figures[f"{label}.value"])
        error = (found - expected).abs().max().item() / float(figures[f"{label}.std"])
        yield error if error == error else float("inf")


@torch.inference_mode()
def compare(name: str, reference: Path = GOLDEN) -> Result:
    """Builds the architecture that ``name`` stands for, fills it, and compares its logits with the reference's."""
    about: dict[str, Any] = json.loads((reference / "architectures" / f"{name}.json").read_text())
    entry = find(name)
    model = build(entry, model_class=Segmentor, auxiliary=True)
    fill(model, about["norm_scale"], about["tied"])
    model.eval()
    x = image(*about["input_size"])
    features = model.features(x)
    logits = resize(model.decode(features), x.shape[2:], align_corners=model.align_corners)
    outputs = {"logits": logits, **{f"aux{i}": aux for i, aux in enumerate(model.auxiliary(features))}}
    with np.load(reference / "logits" / f"{name}.npz") as archive:
        figures = {key: archive[key] for key in archive.files}
    labels = {key.partition(".")[0] for key in figures}
    if labels != set(outputs):
        raise ValueError(f"{name} has outputs {sorted(outputs)}, the reference {sorted(labels)}")
    return Result(name, entry.method, max(_errors(figures, outputs)))


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; exit code 1 when an architecture disagrees."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of published names (default: all)")
    parser.add_argument("--reference", type=Path, default=GOLDEN, help="folder with architectures/ and logits/")
    parser.add_argument(
        "--log", type=Path, help="JSON lines file to write the figures to, replacing those of the same name"
    )
    options = parser.parse_args(arguments)
    chosen = [name for name in names(options.reference) if fnmatch.fnmatchcase(name, options.pattern)]
    results = []
    print(f"{'architecture':<72} {'error / std':>11}  verdict")
    for name in chosen:
        result = compare(name, options.reference)
        results.append(result)
        print(f"{name:<72} {result.error:>11.1e}  {'agrees' if result.agrees else 'DISAGREES'}", flush=True)
    agreeing = sum(result.agrees for result in results)
    print(f"{agreeing} of {len(results)} architectures agree within {TOLERANCE:g} of the logits' standard deviation")
    if options.log:
        write_log(options.log, results)
    return 0 if results and agreeing == len(results) else 1


def write_log(path: Path, results: list[Result]) -> None:
    """Writes a record per architecture, keeping the log's records of others."""
    kept = {record["architecture"]: record for record in (records.read([path]) if path.exists() else [])}
    for result in results:
        kept[result.name] = {
            "kind": "parity",
            "architecture": result.name,
            "method": result.method,
            "max_error_over_std": float(f"{result.error:.2e}"),
            "verdict": "agrees" if result.agrees else "disagrees",
            "dtype": "float32",
            "environment": records.environment("cpu"),
        }
    records.write(path, (kept[name] for name in sorted(kept)))


if __name__ == "__main__":
    sys.exit(main())
