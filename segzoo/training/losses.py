"""The losses of segmentation, each a function of logits and labels.

Everywhere: logits float (N, C, *), labels int64 (N, *) with class numbers and 255 where a pixel counts for nothing;
``class_weight`` is a factor per class, float (C,). Each returns a scalar. A batch without labelled pixels gives 0,
with gradients of 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "IGNORED",
    "accuracy",
    "binary_cross_entropy",
    "class_presence_loss",
    "cross_entropy",
    "dice",
    "dice_per_class",
    "focal",
    "hard_pixel_weight",
    "jaccard",
    "lovasz",
    "tversky",
]

IGNORED = 255


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Cross-entropy of the softmax, averaged as the published networks were trained: over all pixels.

    Ignored pixels have no loss, but count in the average; so do those that ``pixel_weight`` (N, *) leaves out. With
    ``avg_non_ignore`` only labelled pixels count in it.
    """
    count = (labels != IGNORED).sum().clamp(min=1) if avg_non_ignore else labels.numel()
    if pixel_weight is None:
        return F.cross_entropy(logits, labels, class_weight, ignore_index=IGNORED, reduction="sum") / count
    loss = F.cross_entropy(logits, labels, class_weight, ignore_index=IGNORED, reduction="none")
    return (loss * pixel_weight).sum() / count


def binary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    pixel_weight: Tensor | None = None,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Cross-entropy of each class against all others (sigmoid), averaged over pixels and classes.

    Ignored pixels count in the average unless ``avg_non_ignore``, as in :func:`cross_entropy`.
    """
    valid = labels != IGNORED
    weight = valid.to(logits.dtype) if pixel_weight is None else valid * pixel_weight
    loss = F.binary_cross_entropy_with_logits(logits, _one_hot(logits, labels), reduction="none")
    count = valid.sum().clamp(min=1) if avg_non_ignore else labels.numel()
    return (loss.sum(dim=1) * weight).sum() / (count * logits.shape[1])


def class_presence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """EncNet's semantic-encoding loss: which classes are anywhere in the picture (section 3.2 of its paper).

    Args:
        logits: (N, C), a class's being in the picture.
        labels: (N, H, W).
    """
    present = torch.zeros(len(labels), IGNORED + 1, dtype=logits.dtype, device=logits.device)
    present.scatter_(1, labels.flatten(1), 1.0)
    return F.binary_cross_entropy_with_logits(logits, present[:, : logits.shape[1]])


def dice(logits: Tensor, labels: Tensor, *, eps: float = 1e-3) -> Tensor:
    """Dice loss of all classes' sigmoids together, with squares in the denominator, a mean over pictures.

    Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016 (https://arxiv.org/abs/1606.04797), section 3; the form that
    mmsegmentation has had since 1.0. An ignored pixel has no right class; what is predicted there counts as wrong.
    """
    found = logits.sigmoid().flatten(1)
    target = _one_hot(logits, labels).flatten(1)
    both = (found * target).sum(dim=1)
    return (1 - 2 * both / (found.square().sum(dim=1) + target.square().sum(dim=1) + 2 * eps)).mean()


def dice_per_class(
    logits: Tensor, labels: Tensor, *, class_weight: Tensor | None = None, smooth: float = 1.0
) -> Tensor:
    """Dice loss of each class's softmax, a mean over classes and pictures; the form of mmsegmentation 0.x.

    The published form leaves ignored pixels out of the numerator only, and takes them for the last class in the
    denominator; the data sets that it was used for have none.
    """
    found = logits.softmax(dim=1).flatten(2)
    valid = (labels != IGNORED).flatten(1).unsqueeze(1)
    target = _one_hot(logits, labels.clamp(max=logits.shape[1] - 1)).flatten(2)
    both = (found * target * valid).sum(dim=2)
    loss = 1 - (2 * both + smooth) / (found.square().sum(dim=2) + target.square().sum(dim=2) + smooth)
    return _mean_of_classes(loss, class_weight)


def tversky(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weight: Tensor | None = None,
    false_positives: float = 0.3,
    false_negatives: float = 0.7,
    smooth: float = 1.0,
) -> Tensor:
    """Tversky loss of each class's softmax, a mean over classes and pictures: Dice with two kinds of mistakes weighed.

    Source: Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation", MLMI 2017
    (https://arxiv.org/abs/1706.05721), section 2.
    """
    valid = (labels != IGNORED).flatten(1).unsqueeze(1)
    found = logits.softmax(dim=1).flatten(2)
    target = _one_hot(logits, labels).flatten(2)
    right = (found * target * valid).sum(dim=2)
    extra = (found * (1 - target) * valid).sum(dim=2)
    missed = ((1 - found) * target * valid).sum(dim=2)
    loss = 1 - (right + smooth) / (right + false_positives * extra + false_negatives * missed + smooth)
    return _mean_of_classes(loss, class_weight)


def focal(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float = 0.5,
) -> Tensor:
    """Focal loss of each class's sigmoid, averaged over all pixels, ignored ones included, and classes.

    Source: Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017
    (https://arxiv.org/abs/1708.02002), section 3.
    """
    target = _one_hot(logits, labels)
    found = logits.sigmoid()
    wrong = found + target - 2 * found * target
    factor = (alpha * target + (1 - alpha) * (1 - target)) * wrong.pow(gamma)
    loss = factor * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    loss = loss * (labels != IGNORED).unsqueeze(1)
    if class_weight is not None:
        loss = loss * class_weight.view(-1, *[1] * (loss.ndim - 2))
    return loss.mean()


def jaccard(logits: Tensor, labels: Tensor, *, class_weight: Tensor | None = None) -> Tensor:
    """One minus the soft intersection over union, a mean over the classes in the batch, which counts as one picture.

    Source: Rahman, Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation", ISVC
    2016, section 3. A thin class weighs as much as a wide one, at a fraction of :func:`lovasz`'s cost.
    """
    valid = (labels != IGNORED).unsqueeze(1)
    found = logits.softmax(dim=1) * valid
    target = _one_hot(logits, labels)
    axes = (0, *range(2, logits.ndim))
    both, labelled = (found * target).sum(axes), target.sum(axes)
    loss = 1 - both / (found.sum(axes) + labelled - both).clamp(min=1e-6)
    if class_weight is not None:
        loss = loss * class_weight
    present = (labelled > 0).to(loss.dtype)
    return (loss * present).sum() / present.sum().clamp(min=1)


def lovasz(logits: Tensor, labels: Tensor, *, class_weight: Tensor | None = None) -> Tensor:
    """Lovasz-softmax loss, a surrogate of 1 - IoU: a mean over the classes in the batch, which counts as one picture.

    Source: Berman, Triki, Blaschko, "The Lovasz-Softmax loss", CVPR 2018 (https://arxiv.org/abs/1705.08790),
    section 3 and algorithm 1.
    """
    channels = logits.shape[1]
    valid = labels.flatten() != IGNORED
    found = logits.softmax(dim=1).movedim(1, -1).reshape(-1, channels)[valid]
    target = labels.flatten()[valid]
    losses = []
    for label in target.unique().tolist():
        truth = (target == label).to(found.dtype)
        errors, order = (truth - found[:, label]).abs().sort(descending=True)
        loss = errors @ _jaccard_steps(truth[order])
        losses.append(loss if class_weight is None else loss * class_weight[label])
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much the Jaccard loss grows with each pixel that is got wrong, in the order of ``truth`` (P,)."""
    total = truth.sum()
    loss = 1 - (total - truth.cumsum(0)) / (total + (1 - truth).cumsum(0))
    return torch.cat([loss[:1], loss[1:] - loss[:-1]])


@torch.no_grad()
def hard_pixel_weight(
    logits: Tensor,
    labels: Tensor,
    *,
    min_kept: int,
    threshold: float | None = None,
    class_weight: Tensor | None = None,
    kind: Literal["softmax", "sigmoid"] = "softmax",
) -> Tensor:
    """Online hard example mining: 1 where a pixel is to be learned from, 0 elsewhere, of the labels' shape.

    With ``threshold``: the pixels whose probability of the right class is below it, or below that of the
    ``min_kept``-th hardest pixel a picture where that is more. Without: the ``min_kept`` a picture of the largest
    loss, which ``kind`` and ``class_weight`` decide.
    """
    valid = labels != IGNORED
    kept = min_kept * len(labels)
    weight = torch.zeros(labels.shape, dtype=logits.dtype, device=logits.device)
    if not valid.any():
        return weight
    if threshold is not None:
        right = logits.softmax(dim=1).gather(1, labels.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)
        found = right[valid]
        kth = found.kthvalue(min(kept + 1, found.numel())).values.clamp(min=threshold)
        return (valid & (right < kth)).to(logits.dtype)
    if kind == "softmax":
        loss = F.cross_entropy(logits, labels, class_weight, ignore_index=IGNORED, reduction="none")
    else:
        loss = F.binary_cross_entropy_with_logits(logits, _one_hot(logits, labels), reduction="none").sum(dim=1)
    hardest = loss.masked_fill(~valid, -1.0).flatten().topk(min(kept, int(valid.sum()))).indices
    return weight.flatten().scatter(0, hardest, 1.0).view(labels.shape)


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of labelled pixels that are right, in percent; 0 where none is labelled."""
    valid = labels != IGNORED
    right = (_best(logits) == labels) & valid
    return 100.0 * right.sum() / valid.sum().clamp(min=1)


def _best(logits: Tensor) -> Tensor:
    """The class of the largest logit (N, *), the first of equals: ``argmax``, four times as fast on CPUs."""
    if logits.device.type != "cpu":
        return logits.argmax(dim=1)
    channels = logits.shape[1]
    classes = torch.arange(channels, dtype=torch.int16).view(-1, *[1] * (logits.ndim - 2))
    return torch.where(logits == logits.amax(dim=1, keepdim=True), classes, channels).amin(dim=1)


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    """The labels as (N, C, *) of the logits' type: 1 at the right class, 0 throughout for ignored pixels."""
    channels = logits.shape[1]
    index = labels.masked_fill(labels == IGNORED, channels).unsqueeze(1)
    shape = (len(labels), channels + 1, *labels.shape[1:])
    return torch.zeros(shape, dtype=logits.dtype, device=logits.device).scatter_(1, index, 1.0)[:, :channels]


def _mean_of_classes(loss: Tensor, class_weight: Tensor | None) -> Tensor:
    """Mean of (N, C), each class times its weight."""
    return loss.mean() if class_weight is None else (loss * class_weight).mean()
