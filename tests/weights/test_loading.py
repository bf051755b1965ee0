"""Strict loading: everything or nothing, and no second copy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segzoo.errors import StateDictMismatchError
from segzoo.weights import load_into
from tests.weights.files import small_model, small_state


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_loads_and_takes_the_tensors_over() -> None:
    model, state = small_model(), {name: value + 1 for name, value in small_state().items()}
    load_into(model, state, source="net.pth")
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
        assert value.data_ptr() == state[name].data_ptr()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_meta_model_and_half_precision_file() -> None:
    with torch.device("meta"):
        model = small_model()
    state = {n: v.half() if v.is_floating_point() else v for n, v in small_state().items()}
    load_into(model, state, source="net.pth")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert model(torch.zeros(1, 3, 5, 5)).shape == (1, 2, 3, 3)
    assert torch.equal(model[0].weight, state["0.weight"].float())


def test_frozen_parameters_stay_frozen() -> None:
    model = small_model()
    model[0].weight.requires_grad_(False)
    load_into(model, small_state(), source="net.pth")
    assert [p.requires_grad for p in model[0].parameters()] == [False]


FAULTS = {
    "missing": (lambda s: {n: v for n, v in s.items() if n != "2.bias"}, r"1 missing from the file:\s+2\.bias"),
    "unexpected": (lambda s: {**s, "3.weight": torch.zeros(1)}, r"1 unknown to the model:\s+3\.weight"),
    "shape": (
        lambda s: {**s, "2.bias": torch.zeros(7)},
        r"1 of another shape:\s+2\.bias: the file has \(7,\), the model \(2,\)",
    ),
    "kind": (lambda s: {**s, "2.bias": torch.zeros(2, dtype=torch.int64)}, r"1 of another kind:\s+2\.bias"),
}


@pytest.mark.parametrize(("change", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_nothing_is_loaded_unless_everything_is(change: object, reason: str) -> None:
    model = small_model()
    before = snapshot(model)
    wrong = {name: value + 1 if value.is_floating_point() else value for name, value in small_state().items()}
    with pytest.raises(StateDictMismatchError, match=reason) as caught:
        load_into(model, change(wrong), source="https://example.org/net.pth")  # type: ignore[operator]
    assert str(caught.value).startswith("https://example.org/net.pth does not fit the model; nothing was loaded.")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_long_lists_are_cut() -> None:
    with pytest.raises(StateDictMismatchError, match=r"30 unknown to the model:(\n    \S+){8}\n    and 22 more"):
        load_into(small_model(), {**small_state(), **{f"x{i}": torch.zeros(1) for i in range(30)}}, source="net.pth")


def test_dropped_prefixes_drop_only_what_the_model_lacks() -> None:
    state = {**small_state(), "auxiliary_head.weight": torch.zeros(1)}
    with pytest.raises(StateDictMismatchError, match=r"auxiliary_head\.weight"):
        load_into(small_model(), state, source="net.pth")
    load_into(small_model(), state, dropped_prefixes=("auxiliary_head.",), source="net.pth")
    without = {name: value for name, value in state.items() if not name.startswith("2.")}
    with pytest.raises(StateDictMismatchError, match=r"2 missing from the file:\s+2\.weight"):
        load_into(small_model(), without, dropped_prefixes=("2.", "auxiliary"), source="net.pth")


class Windowed(nn.Module):
    """Computes a table that published files hold."""

    ignorable_keys = ("relative_position_index",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("relative_position_index", torch.arange(4), persistent=False)


def test_ignorable_keys_are_relative_to_their_module() -> None:
    model = nn.Sequential(Windowed(), nn.Linear(2, 2))
    state = {
        **{n: torch.ones_like(v) for n, v in model.state_dict().items()},
        "0.relative_position_index": torch.zeros(4),
    }
    load_into(model, state, source="net.pth")
    assert torch.equal(model[0].relative_position_index, torch.arange(4))
    with pytest.raises(StateDictMismatchError, match=r"1\.relative_position_index"):
        load_into(model, {**state, "1.relative_position_index": torch.zeros(4)}, source="net.pth")


def test_values_that_neither_file_nor_model_has() -> None:
    with torch.device("meta"):
        model = Windowed()
    with pytest.raises(StateDictMismatchError, match="computed by the model, which was built without values"):
        load_into(model, {"weight": torch.zeros(2)}, source="net.pth")


def _tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize("meta", [False, True])
def test_tied_parameters_stay_tied(meta: bool) -> None:
    with torch.device("meta" if meta else "cpu"):
        model = _tied()
    value = torch.eye(2)
    load_into(model, {"0.weight": value, "1.weight": value.clone()}, source="net.pth")
    assert model[0].weight is model[1].weight
    assert torch.equal(model[1].weight, value)
    with pytest.raises(StateDictMismatchError, match=r"0\.weight and 1\.weight are one tensor in the model"):
        load_into(model, {"0.weight": value, "1.weight": value + 1}, source="net.pth")


def test_memory_is_about_the_files(tmp_path: object) -> None:
    """A model on the meta device takes the mapped tensors themselves; nothing of their size is allocated."""
    from pathlib import Path

    from segzoo.weights import read, write_safetensors

    path = Path(str(tmp_path)) / "net.safetensors"
    write_safetensors(path, {"weight": torch.ones(4096, 4096)}, {})
    with torch.device("meta"):
        model = nn.Linear(4096, 4096, bias=False)
    tensors = read(path).tensors
    load_into(model, tensors, source="net")
    assert model.weight.data_ptr() == tensors["weight"].data_ptr()
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) in maps.read_text()
