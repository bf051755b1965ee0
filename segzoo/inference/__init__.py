"""From pictures to masks: one at a time, in lists, in folders, in rasters larger than memory.

The names are imported when they are first used: ``segzoo list`` must not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segzoo.lazy import lazy_names

if TYPE_CHECKING:
    from segzoo.inference.image import read_image
    from segzoo.inference.optimized import OptimizedModel, optimize
    from segzoo.inference.predictor import predict
    from segzoo.inference.raster import predict_raster
    from segzoo.inference.result import Segmentation

__all__ = ["OptimizedModel", "Segmentation", "optimize", "predict", "predict_raster", "read_image"]

_HOME = {
    "OptimizedModel": "optimized",
    "Segmentation": "result",
    "optimize": "optimized",
    "predict": "predictor",
    "predict_raster": "raster",
    "read_image": "image",
}

__getattr__, __dir__ = lazy_names(__name__, _HOME)
