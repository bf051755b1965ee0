"""Strict loading: every tensor of the model comes from the file, and every tensor of the file goes into the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from segzoo.errors import StateDictMismatchError

__all__ = ["load_into"]

_SHOWN = 8


def load_into(
    model: nn.Module, tensors: Mapping[str, Tensor], *, dropped_prefixes: tuple[str, ...] = (), source: str
) -> None:
    """Load a state dict, strictly; the model takes over the tensors (no second copy), in its own types and devices.

    A module may name what a file can hold and the module computes, in an attribute ``ignorable_keys: tuple[str, ...]``,
    relative to itself. Those, and what begins with one of ``dropped_prefixes``, may be in the file without being used.

    Args:
        model: any module; parameters on the ``meta`` device get the file's tensors on the CPU.
        tensors: by published name.
        dropped_prefixes: beginnings of names that the model leaves out on purpose (``'auxiliary_head.'``).
        source: what messages call the file.

    Raises:
        StateDictMismatchError: names or shapes differ; lists them, and nothing has been loaded.
    """
    wanted = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    computed = set(_ignorable(model)) - set(wanted)
    given = {
        name: tensor
        for name, tensor in tensors.items()
        if name in wanted or not (name in computed or name.startswith(dropped_prefixes))
    }
    problems = _differences(wanted, given) or _unfilled(model, wanted)
    if problems:
        raise StateDictMismatchError(f"{source} does not fit the model; nothing was loaded.\n" + "\n".join(problems))
    prepared: dict[str, Tensor] = {}
    shared: dict[int, tuple[str, Tensor]] = {}
    for name, target in wanted.items():
        if id(target) in shared:
            # Two names of one parameter stay one parameter; a file that gives them two values fits no such model.
            first, value = shared[id(target)]
            if not _equal(given[name], given[first]):
                raise StateDictMismatchError(
                    f"{source} does not fit the model; nothing was loaded.\n"
                    f"  {first} and {name} are one tensor in the model and two different ones in the file"
                )
            prepared[name] = value
            continue
        device = "cpu" if target.is_meta else target.device
        value = given[name].detach().to(device=device, dtype=target.dtype)
        if isinstance(target, nn.Parameter):
            value = nn.Parameter(value, requires_grad=target.requires_grad)
        shared[id(target)] = (name, value)
        prepared[name] = value
    model.load_state_dict(prepared, strict=True, assign=True)


def _ignorable(model: nn.Module) -> Iterable[str]:
    for path, module in model.named_modules():
        for name in getattr(module, "ignorable_keys", ()):
            yield f"{path}.{name}" if path else name


def _equal(first: Tensor, second: Tensor) -> bool:
    return first is second or torch.equal(first, second)


def _differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    shapes = [
        f"{name}: the file has {tuple(given[name].shape)}, the model {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    kinds = [
        f"{name}: the file has {given[name].dtype}, the model {wanted[name].dtype}"
        for name in wanted
        if name in given and given[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    return [
        *_listed("missing from the file", missing),
        *_listed("unknown to the model", unexpected),
        *_listed("of another shape", shapes),
        *_listed("of another kind", kinds),
    ]


def _unfilled(model: nn.Module, wanted: Mapping[str, Tensor]) -> list[str]:
    """Buffers that no file holds and that a model built on the meta device therefore has no values for."""
    empty = [name for name, buffer in model.named_buffers() if buffer.is_meta and name not in wanted]
    return _listed("computed by the model, which was built without values", empty)


def _listed(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = [f"    and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"  {len(names)} {title}:", *(f"    {name}" for name in names[:_SHOWN]), *more]
