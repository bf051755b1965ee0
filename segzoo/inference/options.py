"""The options of ``predict``, checked against each other and filled in from the entry's protocol."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from segzoo.errors import OptionError

if TYPE_CHECKING:
    from segzoo.index import Entry

__all__ = ["Mode", "Options", "Resize", "Size", "network_size", "resolve"]

Mode = Literal["whole", "slide"]
Resize = Literal["entry"] | tuple[int, int] | None
Size = int | tuple[int, int]

PUBLISHED_THRESHOLD = 0.3


@dataclass(frozen=True)
class Options:
    """Every choice that decides a pixel.

    ``fit``: the two lengths that the picture is fitted into, None to leave its size. ``crop`` and ``stride`` of the
    windows, (height, width), are None for the whole picture. ``threshold`` is None for models of several channels.
    """

    fit: tuple[int, int] | None
    keep_ratio: bool
    size_divisor: int | None
    crop: tuple[int, int] | None
    stride: tuple[int, int] | None
    scales: tuple[float, ...]
    flip: bool
    threshold: float | None
    batch_size: int | None


def resolve(
    entry: Entry,
    channels: int,
    *,
    mode: Mode | None = None,
    crop_size: Size | None = None,
    stride: Size | None = None,
    scales: Sequence[float] | None = None,
    flip: bool = False,
    resize: Resize = "entry",
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Options:
    """Check the arguments of :func:`segzoo.inference.predict` for a model of ``entry`` with ``channels`` logits.

    Raises :class:`~segzoo.errors.OptionError` naming the option, what it was and what it may be.
    """
    protocol = entry.protocol
    mode = protocol.mode if mode is None else mode
    if mode not in get_args(Mode):
        raise OptionError(f"mode is 'whole' or 'slide', or None for the entry's own; not {mode!r}")
    crop, step = _windows(entry, mode, _size("crop_size", crop_size), _size("stride", stride))
    fit, size_divisor = _fit(entry, resize)
    return Options(
        fit=fit,
        keep_ratio=protocol.keep_ratio or resize != "entry",
        size_divisor=size_divisor,
        crop=crop,
        stride=step,
        scales=_scales(scales),
        flip=_flag("flip", flip),
        threshold=_threshold(threshold, channels),
        batch_size=None if batch_size is None else _whole_number("batch_size", batch_size),
    )


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{name} is True or False, not {value!r}")
    return value


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise OptionError(f"{name} is a whole number of 1 or more, not {value!r}")
    return int(value)


def _size(name: str, value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, numbers.Integral):
        side = _whole_number(name, value)
        return side, side
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise OptionError(f"{name} is (height, width) or one number for both, not {value!r}")
    return _whole_number(name, value[0]), _whole_number(name, value[1])


def _windows(
    entry: Entry, mode: Mode, crop: tuple[int, int] | None, stride: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Crop and stride of the windows; (None, None) for the whole picture."""
    if mode == "whole":
        if crop or stride:
            given = "crop_size" if crop else "stride"
            raise OptionError(f"{given} is for sliding windows: pass mode='slide' with it")
        return None, None
    protocol = entry.protocol
    own = protocol.crop_size or entry.crop_size
    if crop is None and own is None:
        raise OptionError(f"{entry.name} names no window: pass crop_size=(height, width)")
    chosen = crop or own
    assert chosen is not None
    if stride is None and chosen == protocol.crop_size:
        stride = protocol.stride
    stride = stride or (max(1, chosen[0] * 2 // 3), max(1, chosen[1] * 2 // 3))
    if stride[0] > chosen[0] or stride[1] > chosen[1]:
        raise OptionError(f"stride {stride} is larger than the crop {chosen} (height, width): windows would leave gaps")
    return chosen, stride


def _fit(entry: Entry, resize: object) -> tuple[tuple[int, int] | None, int | None]:
    if resize is None:
        return None, None
    if isinstance(resize, str):
        if resize != "entry":
            raise OptionError(f"resize is 'entry', a pair (long side, short side) or None, not {resize!r}")
        return entry.protocol.scale, entry.protocol.size_divisor
    if not isinstance(resize, Sequence) or len(resize) != 2:
        raise OptionError(f"resize is 'entry', a pair (long side, short side) or None, not {resize!r}")
    return (_whole_number("resize", resize[0]), _whole_number("resize", resize[1])), entry.protocol.size_divisor


def _scales(scales: object) -> tuple[float, ...]:
    if scales is None:
        return (1.0,)
    if isinstance(scales, str) or not isinstance(scales, Sequence) or not scales:
        raise OptionError(f"scales is a list of ratios such as (0.5, 1.0, 1.5), not {scales!r}")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not 0 < float(scale) < math.inf:
            raise OptionError(f"every ratio of scales is a number above 0, not {scale!r}")
    return tuple(float(scale) for scale in scales)


def _threshold(threshold: object, channels: int) -> float | None:
    if channels > 1:
        if threshold is not None:
            raise OptionError(f"threshold is for models of one channel; this one has {channels} and takes the best")
        return None
    if threshold is None:
        return PUBLISHED_THRESHOLD
    if isinstance(threshold, bool) or not isinstance(threshold, numbers.Real) or not 0 <= float(threshold) <= 1:
        raise OptionError(f"threshold is a probability from 0 to 1, not {threshold!r}")
    return float(threshold)


def network_size(height: int, width: int, options: Options, scale: float) -> list[tuple[int, int]]:
    """The sizes (height, width) that a picture is resized to, one after the other, at one of the scales."""
    if options.fit is None:
        # As published in 1.x: the scaled sides are rounded, and the picture is fitted into them, which rounds again.
        first, second = int(width * scale + 0.5), int(height * scale + 0.5)
    else:
        first, second = (int(length * scale) for length in options.fit)
    if options.keep_ratio:
        ratio = min(max(first, second) / max(height, width), min(first, second) / min(height, width))
        sizes = [(int(height * ratio + 0.5), int(width * ratio + 0.5))]
    else:
        sizes = [(second, first)]
    if options.size_divisor:
        divisor = options.size_divisor
        sizes.append((-(-sizes[0][0] // divisor) * divisor, -(-sizes[0][1] // divisor) * divisor))
    return [(max(1, height), max(1, width)) for height, width in sizes]
