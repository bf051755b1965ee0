"""The whole path from picture to mask, against what the published implementation computed.

Weights come from the tensors' names. Of the label maps, 255 marks pixels whose two best probabilities tie.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import segzoo
from benchmarks.parity import GOLDEN, fill
from segzoo.index import list_models

CASES = json.loads((GOLDEN / "predict" / "cases.json").read_text())
SLOW = ("00", "01", "02", "04", "05", "06", "10", "11")


def marked(case: dict[str, Any]) -> Any:
    marks = [pytest.mark.large] if case["case"] in SLOW else []
    return pytest.param(case, id=f"{case['case']}-{case['entry']}", marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_predict(case: dict[str, Any]) -> None:
    if case["entry"].replace("-", "_") not in list_models():
        pytest.skip("the index has no such entry")
    model = segzoo.load(case["entry"], pretrained=False)
    about = json.loads((GOLDEN / "architectures" / f"{case['weights']}.json").read_text())
    fill(model, about["norm_scale"], about["tied"])
    # both paths of predict see the same inputs: the network runs once on each
    network, seen = model.logits, {}

    def logits(x: torch.Tensor) -> torch.Tensor:
        key = (x.shape, x.numpy().tobytes())
        if key not in seen:
            seen[key] = network(x)
        return seen[key]

    model.logits = logits
    options = {key: case[key] for key in ("mode", "crop_size", "stride") if key in case}
    if case["scales"]:
        options |= {"scales": case["scales"], "flip": True}
    image = GOLDEN / "predict" / case["image"]
    expected = np.asarray(Image.open(GOLDEN / "predict" / f"{case['case']}.png"))
    untied = expected != 255
    figures = np.load(GOLDEN / "predict" / "probabilities.npz")
    with_planes = model.predict(image, probabilities=True, **options)
    assert with_planes.probabilities.shape == tuple(figures[f"{case['case']}.shape"])
    found = with_planes.probabilities.ravel()[figures[f"{case['case']}.index"]]
    assert (np.abs(found - figures[f"{case['case']}.value"]) <= 2e-3).mean() >= 0.999
    for mask in (with_planes.mask, model.predict(image, **options).mask):
        assert (mask == expected)[untied].mean() >= 0.999
