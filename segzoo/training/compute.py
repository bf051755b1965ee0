"""The losses of a model: which head is trained on what, by the recipe.

Names are the published ones: ``decode.loss_ce``, ``aux_0.loss_ce``, ``decode.loss_ce.s2`` (K-Net's stages),
``decode.pam.loss_ce`` (DANet's branches), ``decode_1.pointloss_ce`` (PointRend).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.errors import InputSizeError, RecipeError
from segzoo.heads.danet import DAHead
from segzoo.heads.encnet import EncHead
from segzoo.heads.knet import IterativeDecodeHead
from segzoo.heads.point_rend import PointHead
from segzoo.heads.stdc import STDCHead
from segzoo.layers.deferred import Deferring
from segzoo.layers.point_sampling import point_sample
from segzoo.layers.resize import resize
from segzoo.recipe import HeadLoss, Losses, LossTerm
from segzoo.segmentor import Segmentor
from segzoo.training import losses as functions

__all__ = ["compute_losses", "total_loss"]

_SHORT = {"cross_entropy": "ce", "binary_cross_entropy": "ce", "dice_per_class": "dice"}


def compute_losses(
    model: Segmentor, images: Tensor, labels: Tensor, *, losses: Losses | None = None
) -> dict[str, Tensor]:
    """Every loss of a model on a batch, each with its weight applied, and the accuracies.

    Args:
        model: as built, with or without auxiliary heads; its mode is left as it is.
        images: float (N, 3, H, W), normalised.
        labels: whole numbers (N, H, W): class numbers, and 255 where a pixel counts for nothing.
        losses: what to train each head on; the recipe of the model's entry by default, and where it has none,
            cross-entropy with the weights 1 for decode heads and 0.4 for auxiliary ones.

    Returns:
        Scalars by name. Those whose name contains ``loss`` add up to the total (:func:`total_loss`); those with
        ``acc_`` are percentages of labelled pixels, without gradients.

    Raises:
        InputSizeError: images or labels have another shape or type; or, where labels are on the CPU, one of them is
            neither a class number nor 255.
        RecipeError: ``losses`` do not fit the model's heads or classes.
    """
    targets = _targets(model, images, labels)
    if losses is None:
        losses = model.entry.recipe.losses if model.entry.recipe is not None else Losses()
    out = {}
    with _mixing_first(images):
        features = model.features(images)
        for prefix, found in _decode(model, features, targets, losses):
            out.update({f"{prefix}.{name}": value for name, value in found.items()})
        for prefix, head, wanted in _heads("aux", model.auxiliary_head, losses.auxiliary):
            found = _head(head, features, targets, wanted, losses)
            out.update({f"{prefix}.{name}": value for name, value in found.items()})
    return out


def _mixing_first(images: Tensor) -> contextlib.AbstractContextManager[object]:
    """Where multiplications are what takes the time, maps are convolved before they are enlarged.

    That is on CPUs in full precision; GPUs have not been measured, and in half precision the order of sums shows.
    """
    plain = images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64)
    return Deferring() if plain and not torch.is_autocast_enabled("cpu") else contextlib.nullcontext()


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The sum of what :func:`compute_losses` found, accuracies left out."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


def _targets(model: Segmentor, images: Tensor, labels: Tensor) -> Tensor:
    expected = (images.shape[0], *images.shape[2:])
    if labels.is_floating_point() or labels.dtype == torch.bool or tuple(labels.shape) != expected:
        raise InputSizeError(
            f"labels must be whole numbers of shape {expected}, as the images; "
            f"found {labels.dtype} of shape {tuple(labels.shape)}"
        )
    targets = labels.long()
    if targets.device.type == "cpu":
        wrong = (targets != functions.IGNORED) & ((targets < 0) | (targets >= model.num_classes))
        if wrong.any():
            raise InputSizeError(
                f"a label is {int(targets[wrong][0])}, but there are {model.num_classes} classes, numbered from 0; "
                f"{functions.IGNORED} marks pixels to ignore"
            )
    return targets


def _heads(
    prefix: str, heads: nn.Module | None, wanted: Sequence[HeadLoss]
) -> Iterator[tuple[str, nn.Module, HeadLoss]]:
    """Each head with the start of its losses' names and what it is trained on."""
    if heads is None:
        return
    if not isinstance(heads, nn.ModuleList):
        heads = nn.ModuleList([heads])
    else:
        prefix += "_"
    if len(wanted) == 1:
        wanted = [wanted[0]] * len(heads)
    if len(wanted) != len(heads):
        raise RecipeError(
            f"recipe: there are losses for {len(wanted)} '{prefix}' heads, but the model has {len(heads)}"
        )
    for i, (head, one) in enumerate(zip(heads, wanted, strict=True)):
        yield f"{prefix}{i}" if prefix.endswith("_") else prefix, head, one


def _decode(
    model: Segmentor, features: Sequence[Tensor], labels: Tensor, losses: Losses
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    previous = None
    for prefix, head, wanted in _heads("decode", model.decode_head, losses.decode):
        if previous is None:
            if isinstance(model.decode_head, nn.ModuleList):
                previous = head(features)
                yield prefix, _map_losses(previous, labels, head, wanted, losses.stride)
            else:
                yield prefix, _head(head, features, labels, wanted, losses)
        elif isinstance(head, PointHead):
            yield prefix, _point_losses(head, features, previous, labels, wanted, losses)
        else:
            previous = head(features, previous)
            yield prefix, _map_losses(previous, labels, head, wanted, losses.stride)


def _head(
    head: nn.Module, features: Sequence[Tensor], labels: Tensor, wanted: HeadLoss, losses: Losses
) -> dict[str, Tensor]:
    """The losses of a head that stands by itself."""
    if isinstance(head, IterativeDecodeHead):
        stages = enumerate(head.stages(features))
        return {
            f"{name}.s{i}": value
            for i, logits in stages
            for name, value in _map_losses(logits, labels, head, wanted, losses.stride).items()
        }
    if isinstance(head, DAHead):
        branches = zip(("pam_cam", "pam", "cam"), head.branch_logits(features), strict=True)
        return {
            f"{branch}.{name}": value
            for branch, logits in branches
            for name, value in _map_losses(logits, labels, head, wanted, losses.stride).items()
        }
    if isinstance(head, EncHead):
        encoding, x = head.encode(features)
        found = _map_losses(head.classify(x), labels, head, wanted, losses.stride)
        if head.use_se_loss:
            presence = functions.class_presence_loss(_in_full(head.se_layer(encoding)), labels)
            found["loss_se"] = losses.presence_weight * presence
        return found
    if isinstance(head, STDCHead):
        return _map_losses(head(features), head.boundaries(labels), head, wanted, losses.stride)
    return _map_losses(head(features), labels, head, wanted, losses.stride)


def _in_full(logits: Tensor) -> Tensor:
    """Logits in at least single precision, in which sums over many pixels neither overflow nor stall."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _map_losses(logits: Tensor, labels: Tensor, head: nn.Module, wanted: HeadLoss, stride: int) -> dict[str, Tensor]:
    """The losses of logits (N, C, H', W') that are resized to the labels' size first."""
    align_corners = bool(head.align_corners)
    with torch.autocast(logits.device.type, enabled=False):
        logits = _in_full(logits)
        if stride == 1:
            logits = resize(logits, labels.shape[1:], align_corners=align_corners)
        else:
            logits = _resize_every(logits, labels.shape[1:], stride, align_corners)
            labels = labels[:, ::stride, ::stride]
        found = _terms(logits, labels, wanted)
        return {**found, "acc_seg": functions.accuracy(logits, labels)}


def _resize_every(logits: Tensor, size: Sequence[int], stride: int, align_corners: bool) -> Tensor:
    """What every ``stride``-th row and column of the resized logits are; the others are not computed."""

    def mix(length: int, wanted: int) -> Tensor:
        """The weights (length, ceil(wanted / stride)) with which linear interpolation mixes the old points."""
        eye = torch.eye(length, dtype=logits.dtype, device=logits.device).unsqueeze(0)
        return F.interpolate(eye, wanted, mode="linear", align_corners=align_corners)[0, :, ::stride]

    rows, columns = (mix(a, b) for a, b in zip(logits.shape[2:], size, strict=True))
    return rows.transpose(0, 1) @ (logits @ columns)


def _point_losses(
    head: PointHead, features: Sequence[Tensor], coarse: Tensor, labels: Tensor, wanted: HeadLoss, losses: Losses
) -> dict[str, Tensor]:
    """PointRend's losses (section 3.1): at random points, more of them where ``coarse`` (N, C, H, W) is unsure."""
    sampling = losses.points
    points = head.training_points(
        coarse,
        num_points=sampling.num_points,
        oversample_ratio=sampling.oversample_ratio,
        importance_sample_ratio=sampling.importance_sample_ratio,
    )
    logits = head.point_logits(features, coarse, points)
    with torch.autocast(logits.device.type, enabled=False):
        logits = _in_full(logits)
        there = point_sample(labels.unsqueeze(1).float(), points, mode="nearest", align_corners=head.align_corners)
        targets = there.squeeze(1).long()
        found = {f"point{name}": value for name, value in _terms(logits, targets, wanted).items()}
        return {**found, "acc_point": functions.accuracy(logits, targets)}


def _terms(logits: Tensor, labels: Tensor, wanted: HeadLoss) -> dict[str, Tensor]:
    """The head's losses with their weights; terms that share a name are summed."""
    found: dict[str, Tensor] = {}
    for term in wanted.terms:
        name = f"loss_{_SHORT.get(term.name, term.name)}"
        value = term.weight * _term(logits, labels, term, wanted)
        found[name] = found[name] + value if name in found else value
    return found


def _term(logits: Tensor, labels: Tensor, term: LossTerm, wanted: HeadLoss) -> Tensor:
    class_weight = None
    if term.class_weight is not None:
        if len(term.class_weight) != logits.shape[1]:
            raise RecipeError(
                f"recipe: losses has {len(term.class_weight)} class weights for {logits.shape[1]} classes; "
                "give one a class, or class_weight=null"
            )
        class_weight = torch.tensor(term.class_weight, dtype=logits.dtype, device=logits.device)
    pixel_weight = None
    if wanted.hard_pixels is not None:
        pixel_weight = functions.hard_pixel_weight(
            logits,
            labels,
            min_kept=wanted.hard_pixels.min_kept,
            threshold=wanted.hard_pixels.threshold,
            class_weight=class_weight,
            kind="softmax" if term.name == "cross_entropy" else "sigmoid",
        )
    if term.name == "cross_entropy":
        return functions.cross_entropy(
            logits, labels, class_weight=class_weight, pixel_weight=pixel_weight, avg_non_ignore=term.avg_non_ignore
        )
    if term.name == "binary_cross_entropy":
        return functions.binary_cross_entropy(
            logits, labels, pixel_weight=pixel_weight, avg_non_ignore=term.avg_non_ignore
        )
    if term.name == "dice":
        return functions.dice(logits, labels)
    by_name: dict[str, Callable[..., Tensor]] = {
        "dice_per_class": functions.dice_per_class,
        "focal": functions.focal,
        "jaccard": functions.jaccard,
        "lovasz": functions.lovasz,
        "tversky": functions.tversky,
    }
    return by_name[term.name](logits, labels, class_weight=class_weight)
