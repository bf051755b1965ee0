"""One call from a picture to its segmentation, by the entry's own test protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

import numpy as np
import torch

from segzoo.errors import ImageError
from segzoo.inference import engine
from segzoo.inference.image import ChannelOrder, ImageLike, read_image
from segzoo.inference.options import Mode, Options, Resize, Size, network_size, resolve
from segzoo.inference.resample import resize_bilinear
from segzoo.inference.result import Segmentation
from segzoo.inference.views import Network, Pixels, View

if TYPE_CHECKING:
    from segzoo.index import Entry

__all__ = ["Predictor", "class_table", "predict", "predict_bands"]

_BATCH_ON_ACCELERATOR = 8


class Predictor(Protocol):
    """What prediction asks of a model: a :class:`~segzoo.segmentor.Segmentor`, or one prepared by ``optimize``."""

    @property
    def entry(self) -> Entry: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def align_corners(self) -> bool: ...
    def logits(self, x: torch.Tensor, /) -> torch.Tensor: ...
    def modules(self) -> Iterator[torch.nn.Module]: ...
    def parameters(self) -> Iterator[torch.nn.Parameter]: ...
    def eval(self) -> Any: ...


@overload
def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str, but matches here first
    model: Predictor,
    image: ImageLike,
    mode: Mode | None = None,
    *,
    crop_size: Size | None = None,
    stride: Size | None = None,
    scales: Sequence[float] | None = None,
    flip: bool = False,
    resize: Resize = "entry",
    probabilities: bool = False,
    threshold: float | None = None,
    channel_order: ChannelOrder = "rgb",
    batch_size: int | None = None,
) -> Segmentation: ...


@overload
def predict(
    model: Predictor,
    image: Sequence[ImageLike],
    mode: Mode | None = None,
    *,
    crop_size: Size | None = None,
    stride: Size | None = None,
    scales: Sequence[float] | None = None,
    flip: bool = False,
    resize: Resize = "entry",
    probabilities: bool = False,
    threshold: float | None = None,
    channel_order: ChannelOrder = "rgb",
    batch_size: int | None = None,
) -> list[Segmentation]: ...


def predict(
    model: Predictor,
    image: ImageLike | Sequence[ImageLike],
    mode: Mode | None = None,
    *,
    crop_size: Size | None = None,
    stride: Size | None = None,
    scales: Sequence[float] | None = None,
    flip: bool = False,
    resize: Resize = "entry",
    probabilities: bool = False,
    threshold: float | None = None,
    channel_order: ChannelOrder = "rgb",
    batch_size: int | None = None,
) -> Segmentation | list[Segmentation]:
    """Segment a picture, or each of a list of pictures of any sizes, as the model's entry was tested.

    Whatever is left out is the entry's own: the keep-ratio resize, the normalisation, whole or sliding windows. The
    logits are resized to the network's input, overlapping windows averaged there, then resized to the picture;
    softmax, mean over ``scales`` and flips, best class. The model keeps its train or eval mode and runs on its own
    device and in its own dtype, without gradients.

    Args:
        image: a path, a Pillow image, a uint8 RGB array (H, W, 3) or tensor (3, H, W), or a list of these; see
            :mod:`segzoo.inference.image` for what is converted and how. Each picture of a list is computed for
            itself, so that its result does not depend on its neighbours.
        mode: ``'whole'`` gives the network the whole picture, ``'slide'`` overlapping windows of ``crop_size``.
        crop_size: window (height, width) in pixels of the resized picture, or one number for both. Where neither
            this nor the protocol says, the crop that the entry was trained on.
        stride: step between windows (height, width), at most the crop. Default: the entry's for its own crop, else
            two thirds of the crop.
        scales: ratios to average over, such as ``(0.5, 1.0, 1.5)``; they multiply the size that the picture is
            fitted into (the picture's own with ``resize=None``).
        flip: average with the mirrored picture too.
        resize: ``'entry'`` resizes as published; ``(a, b)`` fits the picture into that long and short side, keeping
            its ratio; ``None`` keeps its size.
        probabilities: also keep the class probabilities, float32 (C, H, W): the mean of the views' softmax
            (with windows: the softmax of their mean logits).
        threshold: of the sigmoid, for models of one channel alone; default 0.3, as published.
        channel_order: of arrays and tensors; ``'bgr'`` for pictures from OpenCV.
        batch_size: windows that go through the network at once; halved when memory runs out. Default: 1 on a CPU,
            8 on an accelerator.

    Raises:
        ImageError: the picture cannot be used; the message names it and says why.
        OptionError: an option has a value that cannot be used, or does not go with the others.
    """
    options = resolve(
        model.entry,
        model.num_classes,
        mode=mode,
        crop_size=crop_size,
        stride=stride,
        scales=scales,
        flip=flip,
        resize=resize,
        threshold=threshold,
        batch_size=batch_size,
    )
    if isinstance(image, (list, tuple)):
        pictures = (_read(item, channel_order, place) for place, item in enumerate(image))
        return [_segment(model, pixels, options, probabilities) for pixels in pictures]
    pixels = read_image(cast(ImageLike, image), channel_order=channel_order)
    return _segment(model, pixels, options, probabilities)


def _read(image: ImageLike, channel_order: ChannelOrder, place: int) -> np.ndarray:
    try:
        return read_image(image, channel_order=channel_order)
    except ImageError as error:
        raise ImageError(f"picture {place} of the list: {error}") from None


def _segment(model: Predictor, pixels: np.ndarray, options: Options, keep_planes: bool) -> Segmentation:
    names, colours = class_table(model)
    planes: np.ndarray | None = None
    mask = np.empty(pixels.shape[:2], np.uint8 if len(names) <= 256 else np.uint16)
    if keep_planes:
        with _evaluating(model), torch.inference_mode():
            scores = engine.probabilities(_views(model, pixels, options), options.threshold is not None)
            bands = engine.decide(scores, options.threshold)
            planes = scores.cpu().numpy()
    else:
        bands = predict_bands(model, pixels, options)
    for top, labels in bands:
        mask[top : top + len(labels)] = labels
    return Segmentation(mask, names, colours, planes, pixels)


def class_table(model: Predictor) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and colours of the labels: the model's classes, and what is none where it has a single one."""
    if model.num_classes > 1:
        return model.classes, model.palette
    return ("background", *model.classes), ((0, 0, 0), *model.palette)


@torch.inference_mode()
def predict_bands(model: Predictor, pixels: Pixels, options: Options) -> Iterator[tuple[int, np.ndarray]]:
    """Labels of ``pixels`` (H, W, 3 uint8) as (first row, labels (rows, W) int16), from top to bottom.

    For pictures that do not fit in memory: ``pixels`` may be a memory map, or anything with a shape whose rows can be
    sliced; where it is not resized, only the rows of
    windows that are open are held. The model is in evaluation mode until the last band has been taken.
    """
    with _evaluating(model):
        yield from engine.label_bands(_views(model, pixels, options), options.threshold)


@contextmanager
def _evaluating(model: Predictor) -> Iterator[None]:
    """Evaluation mode; each module's own mode is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _views(model: Predictor, pixels: Pixels, options: Options) -> list[View]:
    network = _network(model, options)
    height, width = pixels.shape[:2]
    views = []
    for scale in options.scales:
        resized = pixels
        for size in network_size(height, width, options, scale):
            if size != resized.shape[:2]:
                resized = resize_bilinear(resized[:], size)
        views += [
            View(network, resized, (height, width), crop=options.crop, stride=options.stride, flip=flip)
            for flip in ((False, True) if options.flip else (False,))
        ]
    return views


def _network(model: Predictor, options: Options) -> Network:
    weight = next(model.parameters(), torch.empty(0))
    default = 1 if weight.device.type == "cpu" else _BATCH_ON_ACCELERATOR
    protocol = model.entry.protocol
    return Network(
        model.logits,
        protocol.mean,
        protocol.std,
        weight.device,
        weight.dtype,
        channels_last=any(map(_is_channels_last, model.parameters())),
        align_corners=model.align_corners,
        batch_size=options.batch_size or default,
    )


def _is_channels_last(weight: torch.Tensor) -> bool:
    return weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
