"""The optimizer of a recipe, with the published parameter groups."""

from __future__ import annotations

from typing import Any

from torch import nn, optim

from segzoo.errors import OptionError
from segzoo.recipe import LayerDecay, OptimizerSpec, ParameterGroup

__all__ = ["build_optimizer", "parameter_factors"]


def build_optimizer(model: nn.Module, spec: OptimizerSpec) -> optim.Optimizer:
    """An optimizer over the parameters of ``model`` that are to be trained.

    Parameters with the same learning rate and decay share a group. A group's ``lr`` is the rate that the schedule
    begins with; groups stand in the order in which the model first names one of their parameters.

    Raises:
        OptionError: no parameter is to be trained.
    """
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members.setdefault(parameter_factors(spec, name, parameter.ndim), []).append(parameter)
    if not members:
        raise OptionError("the model has no parameter to train: all are frozen")
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": spec.lr * rate, "weight_decay": spec.weight_decay * decay}
        for (rate, decay), parameters in members.items()
    ]
    if spec.name == "SGD":
        return optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
    kind = optim.Adam if spec.name == "Adam" else optim.AdamW
    return kind(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay)


def parameter_factors(spec: OptimizerSpec, name: str, ndim: int) -> tuple[float, float]:
    """The factors of learning rate and weight decay for a parameter.

    Args:
        spec: whose groups, or whose layer decay, decide.
        name: the parameter's name in the whole model (``'backbone.layers.3.ln1.weight'``).
        ndim: its number of dimensions.
    """
    if spec.layer_decay is not None:
        decayed = ndim != 1 and not name.endswith(".bias")
        return _layer_factor(spec.layer_decay, name), float(decayed)
    # A group's text may begin with the dot before a root module's name, as in the published form.
    fitting = [group for group in spec.groups if group.match in f".{name}"]
    if not fitting:
        return 1.0, 1.0
    first = min(fitting, key=_precedence)
    return first.lr, first.weight_decay


def _precedence(group: ParameterGroup) -> tuple[int, str]:
    return -len(group.match), group.match


def _layer_factor(decay: LayerDecay, name: str) -> float:
    """The published depth of a parameter to a factor; what is not in the backbone's layers is as deep as the head.

    Sources: Bao, Dong, Piao, Wei, "BEiT", ICLR 2022 (https://arxiv.org/abs/2106.08254), appendix; Liu et al., "A
    ConvNet for the 2020s", CVPR 2022 (https://arxiv.org/abs/2201.03545), appendix.
    """
    deepest = decay.layers + 1
    embedding, layers = ("patch_embed", "layers") if decay.kind == "layer" else ("downsample_layers", "stages")
    parts = name.split(".")
    first = parts[1] if parts[0] == "backbone" and len(parts) > 1 else ""
    depth = deepest
    if first in ("cls_token", "mask_token", "pos_embed", embedding):
        depth = 0
    elif first == layers:
        depth = int(parts[2]) + 1
    return float(decay.rate ** (deepest - depth))
