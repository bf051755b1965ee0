"""Whatever a user has to a uint8 RGB array.

Every way in gives the same pixels: a path, the Pillow image opened from it and the array made of that.

* The EXIF orientation of a file or a Pillow image is applied; an EXIF block that cannot be read is ignored.
* Grey, palette, YCbCr, CMYK and bilevel pictures become RGB by Pillow's own conversion; alpha is dropped, not
  blended (as OpenCV's reader does). Of 16-bit samples the high byte is kept, for grey as for RGB.
* Of an animation or a multi-page file the first frame is read.
* Arrays and tensors are uint8 with three channels, RGB unless ``channel_order='bgr'`` says otherwise. They are
  never guessed at: a float array, a channels-first array or a label map is an error that says what to do.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from segzoo.errors import ImageError, OptionError

__all__ = ["ChannelOrder", "ImageLike", "read_image"]

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor
ChannelOrder = Literal["rgb", "bgr"]

_WIDE_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(image: ImageLike, *, channel_order: ChannelOrder = "rgb") -> np.ndarray:
    """Read a picture as uint8 RGB, shape (H, W, 3), values 0-255.

    ``image`` is a path, a Pillow image, a uint8 array (H, W, 3) or a uint8 tensor (3, H, W) on any device.
    ``channel_order`` says how the channels of an array or a tensor are ordered (``'bgr'`` for OpenCV's); files and
    Pillow images know their own. The result may share memory with ``image``.

    Raises :class:`~segzoo.errors.ImageError` when the picture cannot be used, saying why.
    """
    if channel_order not in get_args(ChannelOrder):
        raise OptionError(f"channel_order is 'rgb' or 'bgr', not {channel_order!r}")
    if isinstance(image, Image.Image):
        return _from_pillow(image, "the Pillow image")
    if isinstance(image, (np.ndarray, torch.Tensor)):
        pixels = _from_array(image) if isinstance(image, np.ndarray) else _from_tensor(image)
        return pixels if channel_order == "rgb" else np.ascontiguousarray(pixels[..., ::-1])
    if not isinstance(image, (str, os.PathLike)):
        raise _not_a_picture(image)
    return _from_file(Path(os.fspath(image)), str(image))


def _not_a_picture(image: object) -> ImageError:
    hint = ": pass bytes as PIL.Image.open(io.BytesIO(data))" if isinstance(image, (bytes, bytearray)) else ""
    return ImageError(
        f"a {type(image).__name__} is not a picture{hint}. Accepted: a path, a PIL image, a uint8 RGB array "
        "(H, W, 3), a uint8 tensor (3, H, W), or a list of these"
    )


def _from_file(path: Path, name: str) -> np.ndarray:
    if "://" in name:
        raise ImageError(f"{name} is an address, not a file: download the picture first and pass its path")
    if not path.exists():
        raise ImageError(f"{name}: there is no such file")
    if path.is_dir():
        raise ImageError(f"{name} is a folder: pass its files, or use `segzoo predict {name}` for all of them")
    if path.stat().st_size == 0:
        raise ImageError(f"{name} is empty (0 bytes)")
    try:
        picture = Image.open(path)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture in a format that Pillow reads") from None
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except PermissionError:
        raise ImageError(f"{name} may not be read: check its permissions") from None
    except Exception as error:  # Pillow's plugins raise many kinds on a damaged header
        raise ImageError(f"{name} cannot be opened as a picture: {error}") from None
    with picture:
        return _from_pillow(picture, name)


def _too_large(name: str, error: Exception) -> ImageError:
    return ImageError(
        f"{name} is larger than Pillow agrees to decode ({error}). If you trust the file, raise "
        "PIL.Image.MAX_IMAGE_PIXELS, or read it in windows with segzoo.inference.predict_raster"
    )


def _from_pillow(picture: Image.Image, name: str) -> np.ndarray:
    if 0 in picture.size:
        raise ImageError(f"{name} is empty: its size is {picture.width} x {picture.height}")
    try:
        picture.load()
    except Image.DecompressionBombError as error:
        raise _too_large(name, error) from None
    except Exception as error:  # as above: a truncated file is an OSError, SyntaxError, ValueError, struct.error...
        raise ImageError(f"{name} is damaged or cut short: {error}") from None
    picture = _upright(picture)
    if picture.mode in _WIDE_GREY:
        return _wide_grey(np.asarray(picture), name)
    if picture.mode == "F":
        raise ImageError(
            f"{name} holds 32-bit floating point samples whose range is not known: scale them to 0-255 and pass "
            "a uint8 array"
        )
    try:
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except ValueError as error:
        raise ImageError(f"{name}: mode {picture.mode} cannot be converted to RGB ({error})") from None


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; as it is where the EXIF block cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of a corrupt EXIF block, which is no reason to stop
        try:
            return ImageOps.exif_transpose(picture)
        except Exception:
            return picture


def _wide_grey(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.min() < 0 or samples.max() > 65535:
        raise ImageError(
            f"{name} holds 32-bit samples from {samples.min()} to {samples.max()}: only 16-bit grey is converted; "
            "scale them to 0-255 and pass a uint8 array"
        )
    grey = (samples.astype(np.int64) >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _check_samples(kind: str, dtype: str, shape: Sequence[int], expected: str, channels_at: int) -> None:
    """Raise unless the samples are uint8, three-dimensional, of three channels and not empty."""
    shape = tuple(shape)
    if dtype != "uint8":
        raise ImageError(
            f"the {kind} is {dtype}: pictures are uint8 RGB, {expected}, values 0-255. Convert it first (for "
            "0-1 floats: multiply by 255, round, cast); normalised input goes to model(x) instead"
        )
    if len(shape) == 4:
        raise ImageError(f"the {kind} has shape {shape}, a batch: pass a list of pictures {expected} instead")
    if len(shape) == 2:
        raise ImageError(f"the {kind} has shape {shape}, one plane: stack a grey picture three times to {expected}")
    if len(shape) != 3 or shape[channels_at] != 3:
        swapped = len(shape) == 3 and shape[2 - channels_at] == 3
        hint = " (its channels stand on the other side)" if swapped else ""
        raise ImageError(f"the {kind} has shape {shape}{hint}: an RGB picture is {expected}")
    if 0 in shape:
        raise ImageError(f"the {kind} is empty: its shape is {shape}")


def _from_array(array: np.ndarray) -> np.ndarray:
    _check_samples("array", str(array.dtype), array.shape, "(H, W, 3)", 2)
    return array


def _from_tensor(tensor: torch.Tensor) -> np.ndarray:
    _check_samples("tensor", str(tensor.dtype).removeprefix("torch."), tensor.shape, "(3, H, W)", 0)
    return tensor.detach().permute(1, 2, 0).cpu().numpy()
