"""A model prepared for inference: the same labels, sooner."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segzoo.errors import InputSizeError, OptionError, SegzooError
from segzoo.inference.convolutions import convolving
from segzoo.inference.folding import fold, watch
from segzoo.inference.predictor import predict
from segzoo.inference.pruning import prune
from segzoo.inference.strips import striped
from segzoo.inference.winograd import may_pay
from segzoo.layers.deferred import deferred

if TYPE_CHECKING:
    from segzoo.index import Entry
    from segzoo.segmentor import Segmentor

__all__ = ["OptimizedModel", "Report", "optimize"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_SAMPLE_SIDE = 256  # of the picture the network is watched on
_TRIALS = 2
_CLOSE = 1.5  # a layout that is faster by less is timed again on a picture of four times the area,
_SOON = 0.2  # seconds; unless even the first took longer: such networks lose more by the trial than they gain
_MOST_CHANGE = 1e-4  # of the logits, in float32; a batch norm folded wrongly changes them a thousand times more


@dataclass(frozen=True)
class Report:
    """What was done. ``change``: by how much the logits moved on a sample, relative to their root mean square."""

    folded: int
    deferred: bool
    striped: bool
    winograd: int
    channels_last: bool
    dtype: torch.dtype
    compiled: bool
    change: float
    seconds: float

    def __str__(self) -> str:
        done = [f"{self.folded} batch norms folded"] if self.folded else []
        done += ["resizes put off"] if self.deferred else []
        done += ["large maps in strips"] if self.striped else []
        done += [f"{self.winograd} convolutions by Winograd's algorithm on large maps"] if self.winograd else []
        done += ["channels last"] if self.channels_last else []
        done += [str(self.dtype).removeprefix("torch.")]
        done += ["compiled on first use"] if self.compiled else []
        return f"{', '.join(done)}; logits moved by {self.change:.1e}; took {self.seconds:.2f} s"


class OptimizedModel(nn.Module):
    """What :func:`optimize` returns: a model for inference alone, with the methods that inference uses.

    ``report`` says what was done. ``network`` is the altered copy; its state dict is no longer the published one.
    """

    predict = predict

    def __init__(self, network: Segmentor, run: Callable[[Tensor], Tensor], report: Report) -> None:
        super().__init__()
        self.network = network
        self.report = report
        self._run = run
        if report.compiled:
            self._run = torch.compile(self._run)
        super().train(False)

    @property
    def entry(self) -> Entry:
        """The index entry of the model."""
        return self.network.entry

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return self.network.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of each class, (red, green, blue), 0 to 255."""
        return self.network.palette

    @property
    def num_classes(self) -> int:
        """Channels of the logits."""
        return self.network.num_classes

    @property
    def align_corners(self) -> bool:
        """The flag of the resize from the head's logits to the input's size."""
        return self.network.align_corners

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, H', W') of normalised ``x`` (N, 3, H, W), at the decode head's own resolution."""
        return self._run(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) of normalised ``x`` (N, 3, H, W)."""
        return F.interpolate(self.logits(x), x.shape[2:], mode="bilinear", align_corners=self.align_corners)

    def train(self, mode: bool = True) -> OptimizedModel:
        """An optimised model stays in evaluation mode: its batch norms are gone."""
        if mode:
            raise OptionError("an optimised model cannot be trained: train the model that it was made from")
        super().train(False)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.entry.name}: {self.report})"


def _runner(run: Callable[[Tensor], Tensor], *, striping: bool, regrouping: bool) -> Callable[[Tensor], Tensor]:
    """``run`` with its large maps in strips, and with its sums in another order that has fewer multiplications."""
    run = functools.partial(striped, run) if striping else run
    return functools.partial(convolving, functools.partial(deferred, run)) if regrouping else run


def optimize(
    model: Segmentor,
    *,
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    channels_last: bool | None = None,
) -> OptimizedModel:
    """A copy of ``model`` that computes the same function faster; ``model`` itself is left as it is.

    Batch norms are folded into the convolutions before them, and features that no head reads are not kept. On a CPU,
    the layers on the largest maps run together, strip after strip, which takes less memory
    (:mod:`segzoo.inference.strips`), and in float32 channels are mixed before a map is enlarged rather than after it
    (:mod:`segzoo.layers.deferred`), and wide 3 x 3 convolutions take a quarter of the multiplications
    (:mod:`segzoo.inference.winograd`). Weights are laid out channels-last, as :func:`~segzoo.inference.predict` then
    lays out its input, if that is faster here. All this only changes how float32 sums are rounded: on the networks
    here, logits move by 1e-8 to 3e-6 of their root mean square. What it was on a sample is measured and stated in
    ``report``, as is the time that all this took: some passes over a picture of 256 x 256, for light networks also over
    one of 512 x 512.

    Args:
        dtype: ``torch.float32``; ``torch.bfloat16`` or ``torch.float16`` move logits by about a hundredth, or a
            thousandth, and labels near the borders with them. Sums over pictures and windows stay in float32.
        compile: runs the network through ``torch.compile``, which compiles for each new input size on first use.
        channels_last: the layout, if it is not to be chosen by timing both.

    Raises:
        OptionError: ``dtype`` is none of these.
        SegzooError: the logits changed by more than rounding, so that the copy is not to be used.
    """
    if dtype not in _DTYPES:
        raise OptionError(f"dtype is torch.float32, torch.bfloat16 or torch.float16, not {dtype}")
    started = time.perf_counter()
    network = copy.deepcopy(model).to(torch.float32).eval().requires_grad_(False)
    sample, before = _sample(network)
    on_cpu = sample.device.type == "cpu" and not compile
    regrouping = dtype == torch.float32 and on_cpu
    folded = fold(network, watch(network, network.logits, sample))
    run = _runner(prune(network, sample), striping=on_cpu, regrouping=regrouping)
    if channels_last is None:
        channels_last = _channels_last_is_faster(network, run, sample, regrouping=regrouping)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network, sample = network.to(memory_format=layout), sample.to(memory_format=layout)
    change = _difference(before, _logits(run, sample))
    if not change <= _MOST_CHANGE:
        raise SegzooError(f"{model.entry.name}: logits changed by {change:.1e} of their size; use the model as it is")
    if dtype != torch.float32:
        network = network.to(dtype)
        change = _difference(before, _logits(run, sample.to(dtype)))
    seconds = time.perf_counter() - started
    wino = sum(map(may_pay, network.modules())) if regrouping else 0
    report = Report(folded, regrouping, on_cpu, wino, channels_last, dtype, compile, change, seconds)
    return OptimizedModel(network, run, report)


def _sample(model: Segmentor) -> tuple[Tensor, Tensor]:
    """A picture of blurred noise and its logits: of the crop that the entry was trained on, or smaller if it may be."""
    crop = model.entry.crop_size or (_SAMPLE_SIDE, _SAMPLE_SIDE)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    for most in (_SAMPLE_SIDE, max(crop)):
        height, width = (min(side, most) for side in crop)
        coarse = torch.randn(1, 3, max(height // 16, 1), max(width // 16, 1), generator=generator)
        sample = F.interpolate(coarse, (height, width), mode="bilinear").to(device)
        try:
            return sample, _logits(model.logits, sample)
        except InputSizeError:
            if most == max(crop):
                raise
    raise AssertionError


@torch.inference_mode()
def _logits(run: Callable[[Tensor], Tensor], sample: Tensor) -> Tensor:
    return run(sample).float()


def _channels_last_is_faster(
    model: Segmentor, run: Callable[[Tensor], Tensor], sample: Tensor, *, regrouping: bool
) -> bool:
    gain, seconds = _gain_of_channels_last(model, run, sample)
    if regrouping and any(map(may_pay, model.to(memory_format=torch.channels_last).modules())):
        return gain > 1 / _CLOSE  # what takes channels last gains most on maps larger than the sample's
    if 1 / _CLOSE < gain < _CLOSE and seconds < _SOON:
        # Maps that outgrow the processor's cache, as those of pictures do, may tell another story.
        with contextlib.suppress(InputSizeError):
            gain, _ = _gain_of_channels_last(model, run, sample.repeat(1, 1, 2, 2))
    return gain > 1


def _gain_of_channels_last(model: Segmentor, run: Callable[[Tensor], Tensor], sample: Tensor) -> tuple[float, float]:
    """Time both layouts, by turns; each is judged by its fastest run. The gain, and the seconds of the faster one."""
    layouts = (torch.contiguous_format, torch.channels_last)
    best = [float("inf")] * 2
    for trial in range(_TRIALS):
        for i, layout in enumerate(layouts):
            model.to(memory_format=layout)
            x = sample.to(memory_format=layout)
            if trial == 0:
                _logits(run, x)
            _wait(sample.device)
            started = time.perf_counter()
            _logits(run, x)
            _wait(sample.device)
            best[i] = min(best[i], time.perf_counter() - started)
    return best[0] / best[1], min(best)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _difference(expected: Tensor, found: Tensor) -> float:
    """Root mean square of the difference over that of what was expected."""
    return ((found - expected).square().mean() / expected.square().mean().clamp_min(1e-30)).sqrt().item()
