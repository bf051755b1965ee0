"""What is compared: the cases with a bar, and one entry a method."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parity import GOLDEN, names
from segzoo.errors import OptionError
from segzoo.index import Entry, find

__all__ = ["BARS", "Case", "choose", "configuration", "methods", "reference"]


@dataclass(frozen=True)
class Case:
    """An entry on a picture of (height, width) ``size``.

    ``bar``: what the ratios of time and memory are to reach. ``fitted``: the picture is resized as the entry's protocol
    says; else it is the network's input, or what its windows slide over.
    """

    entry: str
    size: tuple[int, int]
    bar: tuple[float, float] | None = None
    fitted: bool = False

    @property
    def label(self) -> str:
        return f"{self.entry}@{self.size[0]}x{self.size[1]}"


BARS = (
    Case("segformer_mit_b0_512x512_160k_ade20k", (1500, 2000), (5, 8), fitted=True),
    Case("segmenter_vit_t_mask_8x1_512x512_160k_ade20k", (512, 2048), (2.5, 6)),
    Case("fast_scnn_lr0_12_8x4_160k_cityscapes", (1024, 2048), (3.5, 3)),
    Case("cgnet_680x680_60k_cityscapes", (1024, 2048), (2, 2)),
    Case("bisenetv2_fcn_4x4_1024x1024_160k_cityscapes", (1024, 2048), (2, 2)),
    Case("pspnet_r50_d8_769x769_40k_cityscapes", (1024, 2048), (1.4, 2)),
    Case("pspnet_r50_d8_512x1024_40k_cityscapes", (512, 1024), (1.5, 1.3)),
    Case("deeplabv3plus_r50_d8_512x1024_40k_cityscapes", (512, 1024), (1.5, 1.3)),
)
METHODS_BAR = (2.0, 2.0)  # of the geometric mean over the methods

_ELSEWHERE = ("ConvNeXt", "PoolFormer")  # backbones that the peer takes from a further package, mmpretrain

# The peer's configuration, where the index knows no 1.x name of the entry.
_CONFIGURATIONS = {
    "ocrnet_hr18s_512x1024_40k_cityscapes": "ocrnet_hr18s_4xb2-40k_cityscapes-512x1024",
    "segformer_mit_b0_512x512_160k_ade20k": "segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "upernet_r18_512x1024_40k_cityscapes": "upernet_r18_4xb2-40k_cityscapes-512x1024",
}


@functools.cache
def methods() -> tuple[Case, ...]:
    """The smallest architecture of each method that the peer has by itself, on a picture of the entry's crop size."""
    smallest: dict[str, tuple[int, str]] = {}
    for name in names():
        method, backbone = find(name).method, find(name).architecture.backbone.type
        if backbone in _ELSEWHERE:
            continue
        about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
        found = (int(about["parameters"]), name)
        smallest[method] = min(smallest.get(method, found), found)
    cases = []
    for _, name in sorted(smallest.values(), key=lambda found: found[1]):
        entry = find(name)
        assert entry.crop_size is not None, name
        cases.append(Case(entry.name, entry.crop_size))
    return tuple(cases)


def choose(words: list[str]) -> list[Case]:
    """The cases that ``bars``, ``methods``, NAME or NAME@HxW stand for.

    Raises:
        OptionError: a size that is none; and the errors of :func:`segzoo.index.find`.
    """
    chosen: list[Case] = []
    for word in words:
        if word in ("bars", "methods"):
            chosen += BARS if word == "bars" else methods()
            continue
        name, _, size = word.partition("@")
        entry = find(name)
        match = re.fullmatch(r"(\d+)x(\d+)", size)
        if size and not match:
            raise OptionError(f"{word}: write the size as NAME@HEIGHTxWIDTH")
        height_width = (int(match[1]), int(match[2])) if match else entry.crop_size or (512, 1024)
        known = [case for case in BARS if case.entry == entry.name and case.size == height_width]
        chosen += known or [Case(entry.name, height_width)]
    return list(dict.fromkeys(chosen))


def configuration(entry: Entry, folder: Path) -> Path:
    """The peer's configuration file of an entry, below ``folder``.

    Raises:
        OptionError: there is none.
    """
    files = {path.stem: path for path in folder.glob("*/*.py")}
    for name in (_CONFIGURATIONS.get(entry.name), *entry.aliases):
        if name in files:
            return files[name]
    raise OptionError(f"{entry.name}: the peer has no configuration of any of its names")


def reference(entry: Entry) -> str:
    """The published name under which the figures of the entry's architecture are kept.

    Raises:
        OptionError: there are none.
    """
    for name in names():
        known = find(name)
        if (known.method, known.architecture.name) == (entry.method, entry.architecture.name):
            return name
    raise OptionError(f"{entry.name}: no reference figures of its architecture, so no statistics to draw weights with")
