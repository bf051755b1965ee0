"""Whether an exported file computes what the model does."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from segzoo.errors import ExportError
from segzoo.segmentor import Segmentor

__all__ = ["TOLERANCE", "Agreement", "check", "sample"]

TOLERANCE = 1e-3  # rounding gives a thousandth of it; another function a thousand times as much


@dataclass(frozen=True)
class Agreement:
    """The largest error of the file's logits at a size, in standard deviations of the model's logits."""

    size: tuple[int, int]
    error: float

    def __str__(self) -> str:
        return f"{self.error:.1e} at {self.size[0]} x {self.size[1]}"


def sample(size: tuple[int, int], count: int = 1) -> Tensor:
    """Blurred noise (count, 3, height, width), of unit variance as normalised pictures are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, *(max(side // 16, 1) for side in size), generator=generator)
    fine = 0.3 * torch.randn(count, 3, *size, generator=generator)
    return F.interpolate(coarse, size, mode="bilinear") + fine


@torch.no_grad()
def check(
    model: Segmentor, path: str | os.PathLike[str], format: str, sizes: Sequence[tuple[int, int]], batch: int = 1
) -> tuple[Agreement, ...]:
    """Run the file at ``path`` on noise of ``sizes`` (height, width), by onnxruntime or torch, and compare.

    Args:
        model: what the file was made of; it is in evaluation mode and on the CPU.
        format: ``'onnx'`` or ``'torch_export'``.
        batch: how many pictures the file takes at once.

    Raises:
        ExportError: the file cannot be run, or its logits differ by more than rounding.
    """
    run = _runner(Path(path), format)
    found = []
    for size in sizes:
        x = sample(size, batch)
        expected = model(x)
        try:
            logits = run(x)
        except Exception as error:  # a runtime's own kinds
            raise ExportError(f"{model.entry.name}: the file fails at {size[0]} x {size[1]}: {error}") from error
        if logits.shape != expected.shape:
            raise ExportError(
                f"{model.entry.name}: the file gives logits of {tuple(logits.shape)}, not {tuple(expected.shape)}"
            )
        agreement = Agreement(size, ((logits - expected).abs().max() / expected.std()).item())
        if not agreement.error <= TOLERANCE:
            raise ExportError(f"{model.entry.name}: the file's logits are off by {agreement}")
        found.append(agreement)
    return tuple(found)


def _runner(path: Path, format: str) -> Callable[[Tensor], Tensor]:
    if format == "torch_export":
        with path.open("rb") as file:
            module = torch.export.load(file).module()
        return lambda x: module(x)
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise ExportError("checking an ONNX file needs onnxruntime: pip install 'segzoo[export]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; it warns of every constant it moves
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["logits"], {"input": x.numpy()})[0])
