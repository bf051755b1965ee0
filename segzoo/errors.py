"""Typed errors. Each message names what was wrong and what to do about it."""

from __future__ import annotations

__all__ = [
    "AmbiguousNameError",
    "CheckpointError",
    "DatasetError",
    "DownloadError",
    "ExportError",
    "HashMismatchError",
    "ImageError",
    "IndexSchemaError",
    "InputSizeError",
    "OfflineError",
    "OptionError",
    "RecipeError",
    "SegzooError",
    "StateDictMismatchError",
    "TrainingError",
    "UnknownNameError",
    "WeightsError",
]


class SegzooError(Exception):
    """Root of every error that segzoo raises on purpose."""


class UnknownNameError(SegzooError, LookupError):
    """A model, data set or component name that the index does not know; lists close matches."""


class AmbiguousNameError(SegzooError, LookupError):
    """A name that could mean two or more entries; lists them."""


class IndexSchemaError(SegzooError, ValueError):
    """A file of ``model_index/`` is malformed; names the file, the entry and the field."""


class OptionError(SegzooError, ValueError):
    """An argument has a value that cannot be used (an unknown mode, a stride larger than the crop)."""


class RecipeError(SegzooError, ValueError):
    """A training recipe has an unknown field or a value that it cannot take; names the field and its type."""


class TrainingError(SegzooError, RuntimeError):
    """A training run cannot begin or go on (its loss is not finite, its folder holds another run)."""


class ExportError(SegzooError, RuntimeError):
    """A network cannot be written for another runtime as asked, or the file computes something else."""


class ImageError(SegzooError, ValueError):
    """An input picture cannot be used (not an image, empty, truncated, wrong dtype or shape)."""


class DatasetError(SegzooError, ValueError):
    """A data set's files are not as its layout says; names the file, what was expected and where it is obtained."""


class InputSizeError(SegzooError, ValueError):
    """A tensor is too small, or of a size that the architecture does not take."""


class WeightsError(SegzooError):
    """Root of the errors about weight files."""


class DownloadError(WeightsError, OSError):
    """No address gave the file; lists every address with its reason and where to put it by hand."""


class OfflineError(DownloadError):
    """The file is not in the cache and the network must not be used."""


class HashMismatchError(WeightsError):
    """A file's sha256 is not the one the index gives; shows both."""


class CheckpointError(WeightsError, ValueError):
    """A weight file cannot be read safely, or holds no state dict."""


class StateDictMismatchError(WeightsError):
    """A file's tensors are not the model's; lists the missing, unexpected and differently shaped ones."""
