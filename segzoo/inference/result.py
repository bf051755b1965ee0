"""What a prediction gives back: the mask, its names and colours, and pictures of it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from segzoo.errors import OptionError
from segzoo.inference.legend import with_legend

__all__ = ["Segmentation"]

Colour = tuple[int, int, int]
Kind = Literal["mask", "colour", "overlay"]

# Formats that keep the class numbers; Pillow's GIF and WebP writers renumber or drop a palette.
_LOSSLESS = (".png", ".tif", ".tiff")
_NOTEBOOK_SIDE = 1024
_OUTLINE = 0.55  # of a segment's outline: how much darker than the segment


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A picture's segmentation.

    Attributes:
        mask: the class of every pixel, (H, W); uint8 up to 256 classes, uint16 beyond. Values index ``classes``.
        classes, palette: name and colour (red, green, blue; 0 to 255) of each class.
        probabilities: float32 (C, H, W) if they were asked for, else None. Models of one channel have one plane,
            of class 1.
        image: the picture, uint8 RGB (H, W, 3), upright as the mask is.
    """

    mask: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    probabilities: np.ndarray | None
    image: np.ndarray

    def __repr__(self) -> str:
        shares = [f"{name} {self._share(pixels):.1%}" for name, pixels in list(self.counts().items())[:3]]
        more = len(self.counts()) - len(shares)
        height, width = self.mask.shape
        rest = f" and {more} more" if more > 0 else ""
        return f"Segmentation({height} x {width}, {len(self.classes)} classes: {', '.join(shares)}{rest})"

    def _share(self, pixels: int) -> float:
        return pixels / self.mask.size

    def counts(self) -> dict[str, int]:
        """Pixels of each class that occurs, the most frequent first."""
        number = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = np.argsort(-number, kind="stable")
        return {self.classes[i]: int(number[i]) for i in order if number[i]}

    def colour(self) -> Image.Image:
        """The mask painted in the classes' colours, RGB."""
        return Image.fromarray(self._colours()[self.mask])

    def overlay(self, alpha: float = 0.5, legend: bool = False) -> Image.Image:
        """The picture with the mask over it, RGB, each segment outlined.

        ``alpha`` is the mask's weight, from 0 (the picture alone) to 1 (the colours alone). ``legend`` adds a panel
        that names the classes, the largest first, with their share of the picture.
        """
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
            raise OptionError(f"alpha is a number from 0 to 1, not {alpha!r}")
        colours = self._colours()
        blended = _blend(self.image, colours[self.mask], alpha)
        edge = _outline(self.mask)
        blended[edge] = _blend(blended[edge], (colours[self.mask[edge]] * (1 - _OUTLINE)).astype(np.uint8), alpha)
        picture = Image.fromarray(blended)
        if not legend:
            return picture
        colour_of = dict(zip(self.classes, self.palette, strict=True))
        rows = [(name, colour_of[name], self._share(pixels)) for name, pixels in self.counts().items()]
        return with_legend(picture, rows)

    def save(
        self, path: str | os.PathLike[str], kind: Kind = "mask", *, alpha: float = 0.5, legend: bool = False
    ) -> None:
        """Write a picture; the format follows the suffix (``.png`` when there is none).

        ``kind``: ``'mask'`` writes the class numbers, as a palette picture that also shows the classes' colours
        (16-bit grey beyond 256 classes); ``'colour'`` the colours as RGB; ``'overlay'`` the picture under them, with
        ``alpha`` and ``legend`` as :meth:`overlay`. A mask is only written to a lossless format.
        """
        if kind not in get_args(Kind):
            raise OptionError(f"kind is 'mask', 'colour' or 'overlay', not {kind!r}")
        target = Path(path)
        suffix = target.suffix.lower() or ".png"
        Image.init()
        if suffix not in Image.EXTENSION or Image.EXTENSION[suffix] not in Image.SAVE:
            raise OptionError(f"{target.name}: Pillow writes no {suffix} pictures; .png always works")
        if kind == "mask" and suffix not in _LOSSLESS:
            raise OptionError(
                f"{target.name}: {suffix} would not keep the class numbers of a mask; write it as .png, or save "
                "kind='overlay'"
            )
        if kind == "mask":
            picture = self._mask_picture()
        else:
            picture = self.colour() if kind == "colour" else self.overlay(alpha, legend)
        picture.save(target, format=Image.EXTENSION[suffix])

    def _mask_picture(self) -> Image.Image:
        if self.mask.dtype == np.uint16:
            return Image.fromarray(self.mask)
        picture = Image.fromarray(self.mask)
        picture.putpalette(self._colours().tobytes())
        return picture

    def _colours(self) -> np.ndarray:
        return np.asarray(self.palette, np.uint8)

    def _repr_png_(self) -> bytes:
        """The overlay with its legend: how a notebook shows the result."""
        height, width = self.mask.shape
        small = self
        if max(height, width) > _NOTEBOOK_SIDE:
            ratio = _NOTEBOOK_SIDE / max(height, width)
            size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
            mask = np.asarray(Image.fromarray(self.mask).resize(size, Image.Resampling.NEAREST))
            image = np.asarray(Image.fromarray(self.image).resize(size, Image.Resampling.BILINEAR))
            small = Segmentation(mask, self.classes, self.palette, None, image)
        buffer = io.BytesIO()
        small.overlay(legend=True).save(buffer, "PNG")
        return buffer.getvalue()


def _blend(under: np.ndarray, over: np.ndarray, alpha: float) -> np.ndarray:
    """``under * (1 - alpha) + over * alpha`` on uint8, in integers: no float copy of a large picture."""
    weight = round(alpha * 256)
    out = under.astype(np.uint16)
    out *= 256 - weight
    out += over * np.uint16(weight)
    out += 127
    out >>= 8
    return out.astype(np.uint8)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, bool)
    edge[:, :-1] |= mask[:, 1:] != mask[:, :-1]
    edge[:-1] |= mask[1:] != mask[:-1]
    return edge
