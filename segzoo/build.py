"""From an index entry to a network.

The tables map the names that ``model_index/`` uses to classes, which are imported when they are first wanted.
"""

from __future__ import annotations

import colorsys
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from segzoo.errors import IndexSchemaError, OptionError, UnknownNameError
from segzoo.index import Architecture, Entry, ModuleSpec
from segzoo.segmentor import Segmentor

__all__ = ["BACKBONES", "HEADS", "NECKS", "Labels", "build", "component", "component_class", "labels_of"]

BACKBONES: Mapping[str, str] = {
    "BEiT": "segzoo.backbones.beit",
    "BiSeNetV1": "segzoo.backbones.bisenet_v1",
    "BiSeNetV2": "segzoo.backbones.bisenet_v2",
    "CGNet": "segzoo.backbones.cgnet",
    "ConvNeXt": "segzoo.backbones.convnext",
    "ERFNet": "segzoo.backbones.erfnet",
    "FastSCNN": "segzoo.backbones.fast_scnn",
    "HRNet": "segzoo.backbones.hrnet",
    "ICNet": "segzoo.backbones.icnet",
    "MAE": "segzoo.backbones.beit",
    "MixVisionTransformer": "segzoo.backbones.mix_transformer",
    "MobileNetV2": "segzoo.backbones.mobilenet_v2",
    "MobileNetV3": "segzoo.backbones.mobilenet_v3",
    "PCPVT": "segzoo.backbones.twins",
    "PoolFormer": "segzoo.backbones.poolformer",
    "ResNeSt": "segzoo.backbones.resnest",
    "ResNet": "segzoo.backbones.resnet",
    "STDCContextPath": "segzoo.backbones.stdc",
    "SVT": "segzoo.backbones.twins",
    "SwinTransformer": "segzoo.backbones.swin",
    "UNet": "segzoo.backbones.unet",
    "VisionTransformer": "segzoo.backbones.vit",
}

NECKS: Mapping[str, str] = {
    "Feature2Pyramid": "segzoo.necks.feature2pyramid",
    "FPN": "segzoo.necks.fpn",
    "ICNeck": "segzoo.necks.icneck",
    "JPU": "segzoo.necks.jpu",
    "MLANeck": "segzoo.necks.mla",
    "MultiLevelNeck": "segzoo.necks.multi_level",
}

HEADS: Mapping[str, str] = {
    "ANNHead": "segzoo.heads.ann",
    "APCHead": "segzoo.heads.apcnet",
    "ASPPHead": "segzoo.heads.deeplab",
    "CCHead": "segzoo.heads.ccnet",
    "DAHead": "segzoo.heads.danet",
    "DMHead": "segzoo.heads.dmnet",
    "DNLHead": "segzoo.heads.dnlnet",
    "DPTHead": "segzoo.heads.dpt",
    "DepthwiseSeparableASPPHead": "segzoo.heads.deeplab",
    "DepthwiseSeparableFCNHead": "segzoo.heads.fcn",
    "EMAHead": "segzoo.heads.emanet",
    "EncHead": "segzoo.heads.encnet",
    "FCNHead": "segzoo.heads.fcn",
    "FPNHead": "segzoo.heads.sem_fpn",
    "GCHead": "segzoo.heads.gcnet",
    "ISAHead": "segzoo.heads.isanet",
    "IterativeDecodeHead": "segzoo.heads.knet",
    "LRASPPHead": "segzoo.heads.lraspp",
    "NLHead": "segzoo.heads.nonlocal_net",
    "OCRHead": "segzoo.heads.ocrnet",
    "PSAHead": "segzoo.heads.psanet",
    "PSPHead": "segzoo.heads.pspnet",
    "PointHead": "segzoo.heads.point_rend",
    "SETRMLAHead": "segzoo.heads.setr",
    "SETRUPHead": "segzoo.heads.setr",
    "STDCHead": "segzoo.heads.stdc",
    "SegformerHead": "segzoo.heads.segformer",
    "SegmenterMaskTransformerHead": "segzoo.heads.segmenter",
    "UPerHead": "segzoo.heads.upernet",
}

S = TypeVar("S", bound=Segmentor)


def component_class(table: Mapping[str, str], spec: ModuleSpec) -> Callable[..., nn.Module]:
    """The class that ``spec`` names.

    Raises:
        UnknownNameError: the table has no such name.
    """
    if spec.type not in table:
        raise UnknownNameError(f"no network part is named {spec.type!r}; there are {', '.join(sorted(table))}")
    cls: Callable[..., nn.Module] = getattr(importlib.import_module(table[spec.type]), spec.type)
    return cls


def component(table: Mapping[str, str], spec: ModuleSpec, **given: Any) -> nn.Module:
    """Builds the class that ``spec`` names, with its arguments and what the builder gives.

    Raises:
        UnknownNameError: the table has no such name.
        IndexSchemaError: the arguments do not fit the class.
    """
    cls = component_class(table, spec)
    arguments = {**given, **spec.arguments}
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise IndexSchemaError(f"{spec.type} cannot take {dict(spec.arguments)}: {error}") from error
    return cls(**arguments)


def _heads(
    spec: ModuleSpec | tuple[ModuleSpec, ...],
    in_channels: Sequence[int],
    num_classes: int,
    align_corners: bool,
) -> nn.Module:
    def one(head: ModuleSpec) -> nn.Module:
        given = {"in_channels": in_channels, "num_classes": num_classes, "align_corners": align_corners}
        held = {key: one(value) for key, value in head.arguments.items() if isinstance(value, ModuleSpec)}
        return component(HEADS, ModuleSpec(head.type, {**head.arguments, **held}), **given)

    return nn.ModuleList(map(one, spec)) if isinstance(spec, tuple) else one(spec)


@dataclass(frozen=True)
class Labels:
    """Name and colour (red, green, blue; 0 to 255) of each class."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def labels_of(entry: Entry, num_classes: int) -> Labels:
    """The entry's own labels where the number of classes is its own, else numbered names and evenly spread colours.

    Raises:
        OptionError: ``num_classes`` is not a positive number.
    """
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise OptionError(f"num_classes={num_classes!r} must be a whole number of at least 1")
    if num_classes == entry.num_classes:
        return Labels(entry.classes, entry.palette)
    hues = (colorsys.hsv_to_rgb((i * 0.618034) % 1.0, 0.65, 0.9) for i in range(num_classes))
    return Labels(
        tuple(f"class {i}" for i in range(num_classes)),
        tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues),
    )


def build(
    entry: Entry,
    *,
    model_class: type[S],
    labels: Labels | None = None,
    auxiliary: bool = False,
    device: torch.device | str | None = None,
) -> S:
    """A freshly initialised network of ``entry``'s architecture, in training mode; nothing is downloaded.

    Args:
        entry: the index entry.
        model_class: ``Segmentor``, or what is made of it.
        labels: the classes, where they are not the entry's own; their number is that of the logits.
        auxiliary: builds the auxiliary heads too, which only training uses.
        device: where the parameters are made; ``'meta'`` makes none.
    """
    if labels is None:
        labels = labels_of(entry, entry.num_classes)
    num_classes = len(labels.classes)
    spec: Architecture = entry.architecture
    with torch.device(device or "cpu"):
        backbone = component(BACKBONES, spec.backbone)
        channels: Sequence[int] = backbone.channels  # type: ignore[assignment]
        neck = None
        if spec.neck is not None:
            neck = component(NECKS, spec.neck, in_channels=channels, in_strides=backbone.strides)
            channels = neck.channels  # type: ignore[assignment]
        head = _heads(spec.decode_head, channels, num_classes, entry.align_corners)
        auxiliary_head = None
        if auxiliary and spec.auxiliary_head is not None:
            auxiliary_head = _heads(spec.auxiliary_head, channels, num_classes, entry.align_corners)
    return model_class(
        entry=entry,
        backbone=backbone,
        neck=neck,
        decode_head=head,
        auxiliary_head=auxiliary_head,
        classes=labels.classes,
        palette=labels.palette,
    )
