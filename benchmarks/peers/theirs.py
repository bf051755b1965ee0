"""The peer's side of the comparison: its resize, its normalisation, its network and windows, its resize, its argmax.

From the decoded picture on, with its own functions. Its ``predict_by_feat`` resizes to the network's input within
``encode_decode``, its ``postprocess_result`` resizes to the picture; between the two and the best class the published
figures' release has a softmax, which release 1.2.2 leaves out. It is timed by itself, so that both chains are known.
"""

from __future__ import annotations

import importlib
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers.cases import configuration
from segzoo.index import Entry, find
from segzoo.inference.options import network_size, resolve

__all__ = ["Theirs", "build"]


class Theirs:
    """The peer's model of an entry; calls take a picture, uint8 RGB (H, W, 3), and give labels (H, W)."""

    def __init__(self, entry: str, weights: Path, fitted: bool) -> None:
        warnings.simplefilter("ignore")  # the peer's own, of which there are many
        self.mmcv = importlib.import_module("mmcv")
        self.wrappers = importlib.import_module("mmseg.models.utils")
        self.entry = find(entry)
        self.model = build(self.entry)
        _fill(self.model, load_file(weights))
        self.options = resolve(self.entry, self.entry.num_classes, resize="entry" if fitted else None)

    def __call__(self, picture: np.ndarray, *, softmax: bool = True) -> tuple[np.ndarray, float, float]:
        """Labels, the seconds that took, and those of them that the softmax took."""
        bgr = np.ascontiguousarray(picture[..., ::-1])  # what its reader gives
        started = time.perf_counter()
        scores, between = self._scores(bgr, softmax)
        labels = scores.argmax(dim=0).to(torch.uint8).numpy()
        return labels, time.perf_counter() - started, between

    def gap(self, picture: np.ndarray, labels: np.ndarray) -> float:
        """By how much ``labels`` fall short of the best class at worst, in standard deviations of the logits."""
        logits, _ = self._scores(np.ascontiguousarray(picture[..., ::-1]), softmax=False)
        chosen = logits.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
        return float((logits.amax(0) - chosen).max() / logits.std())

    @torch.no_grad()
    def _scores(self, bgr: np.ndarray, softmax: bool) -> tuple[Tensor, float]:
        original = bgr.shape[:2]
        for height, width in network_size(original[0], original[1], self.options, 1.0):
            if (height, width) != bgr.shape[:2]:
                bgr = self.mmcv.imresize(bgr, (width, height))
        x = torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))
        x = self.model.data_preprocessor({"inputs": [x]}, False)["inputs"]
        size = tuple(x.shape[2:])
        metas = [{"ori_shape": original, "img_shape": size, "pad_shape": size}]
        logits = self.model.inference(x, metas)
        logits = self.wrappers.resize(
            logits, size=original, mode="bilinear", align_corners=self.model.align_corners, warning=False
        )
        started = time.perf_counter()
        scores = logits.softmax(dim=1) if softmax else logits
        return scores.squeeze(0), time.perf_counter() - started


def build(entry: Entry) -> Any:
    """The peer's model of an entry, in eval mode, with plain batch norms and weights of its own."""
    package = importlib.import_module("mmseg")
    config = importlib.import_module("mmengine.config").Config
    registry = importlib.import_module("mmseg.registry")
    importlib.import_module("mmseg.utils").register_all_modules(init_default_scope=True)
    assert package.__file__
    described = config.fromfile(configuration(entry, Path(package.__file__).parent / ".mim" / "configs")).model
    described = _without_pretraining(described)
    model = registry.MODELS.build(described)
    return importlib.import_module("mmengine.model").revert_sync_batchnorm(model).eval()


def _without_pretraining(described: Any) -> Any:
    """The configuration with plain batch norms, and no weights to fetch."""
    if isinstance(described, dict):
        for key in list(described):
            if key in ("pretrained", "init_cfg"):
                described[key] = None
            elif described[key] == "SyncBN":
                described[key] = "BN"
            else:
                _without_pretraining(described[key])
    elif isinstance(described, (list, tuple)):
        for item in described:
            _without_pretraining(item)
    return described


def _fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load the file; nothing but the heads that only training uses may be left over."""
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    left = [key for key in missing if not key.startswith("auxiliary_head.")]
    if left or unexpected:
        raise RuntimeError(f"the peer's model lacks {unexpected[:5]} and the file lacks {left[:5]}")
