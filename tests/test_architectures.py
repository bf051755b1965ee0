"""Every architecture computes what the published implementation computes, at any size, alone and in batches."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.parity import GOLDEN, TOLERANCE, compare, fill, image, names
from segzoo.build import build
from segzoo.errors import InputSizeError
from segzoo.index import Entry, default_index, find
from segzoo.layers.resize import resize
from segzoo.segmentor import Segmentor

FINGERPRINTS = json.loads((Path(__file__).parent / "golden" / "fingerprints.json").read_text())


def parameters(name: str) -> int:
    """Of the published network, auxiliary heads included."""
    about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
    return int(about["parameters"])


def smallest(kind: Callable[[Entry], Hashable]) -> list[str]:
    """The architecture with the fewest parameters of each kind."""
    found: dict[Hashable, str] = {}
    for name in names():
        key = kind(find(name))
        if key not in found or parameters(name) < parameters(found[key]):
            found[key] = name
    return sorted(found.values())


SMALLEST = smallest(lambda entry: entry.method)
FAMILIES = smallest(lambda entry: (entry.method, entry.architecture.backbone.type))
# One architecture of each method on each backbone always; the others as long as the machine has the time.
ALL = [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.large) for name in names()]


@functools.lru_cache(maxsize=1)
def filled(name: str) -> Segmentor:
    """The architecture with the reference's weights, auxiliary heads included; tests restore its mode."""
    model = build(find(name), model_class=Segmentor, auxiliary=True)
    about = json.loads((GOLDEN / "architectures" / f"{name}.json").read_text())
    fill(model, about["norm_scale"], about["tied"])
    return model.eval()


def outputs(model: Segmentor, x: Tensor) -> list[Tensor]:
    """Everything a training loss sees: the logits of each head of a cascade, of each auxiliary head, and the rest."""
    features = model.features(x)
    found = model.auxiliary(features)
    heads = list(model.decode_head) if isinstance(model.decode_head, nn.ModuleList) else [model.decode_head]
    logits: list[Tensor] = []
    for head in heads:
        logits.append(head(features, *logits[-1:]))
        if hasattr(head, "se_layer"):
            found.append(head.class_presence(features))
        if hasattr(head, "branch_logits"):
            found.extend(head.branch_logits(features)[1:])
    return found + logits


def test_there_are_figures_for_every_architecture() -> None:
    built = {(entry.method, entry.architecture.name) for entry in default_index().entries.values()}
    covered = {(find(name).method, find(name).architecture.name) for name in names()}
    same = {}
    for entry in default_index().entries.values():
        key = (entry.method, entry.architecture.name)
        if key in covered:
            same[FINGERPRINTS.get(entry.name)] = key
    uncovered = {
        entry.name
        for entry in default_index().entries.values()
        if entry.dataset != "drawn_streets"
        and (entry.method, entry.architecture.name) in built - covered
        and FINGERPRINTS[entry.name] not in same
    }
    assert not uncovered


@pytest.mark.parametrize("name", ALL)
def test_logits_equal_the_reference(name: str) -> None:
    assert compare(name).error <= TOLERANCE


def fingerprint(model: nn.Module) -> str:
    lines = (f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in model.state_dict().items())
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def test_every_entry_has_the_published_state_dict() -> None:
    seen: dict[tuple[str, str, int], str] = {}
    wrong = []
    for entry in default_index().entries.values():
        if entry.name not in FINGERPRINTS:
            continue
        key = (entry.method, entry.architecture.name, entry.num_classes)
        if key not in seen:
            seen[key] = fingerprint(build(entry, model_class=Segmentor, auxiliary=True, device="meta"))
        if seen[key] != FINGERPRINTS[entry.name]:
            wrong.append(entry.name)
    assert not wrong


def required_size(error: InputSizeError) -> tuple[int, int]:
    """The size that the message asks for, as its last two numbers joined by 'x'."""
    sizes = re.findall(r"(\d+)\s*x\s*(\d+)", str(error))
    assert sizes, f"names no size: {error}"
    return int(sizes[-1][0]), int(sizes[-1][1])


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
def test_any_size_works_or_the_error_says_which_does(name: str, size: tuple[int, int]) -> None:
    model = filled(name)
    with torch.inference_mode():
        try:
            logits = model(image(*size))
        except InputSizeError as error:
            size = required_size(error)
            logits = model(image(*size))
    assert logits.shape == (1, model.num_classes, *size)
    assert logits.isfinite().all()


def usable_input(model: Segmentor, count: int, size: tuple[int, int] = (64, 96)) -> Tensor:
    with torch.inference_mode():
        try:
            model(image(*size))
        except InputSizeError as error:
            size = required_size(error)
    return torch.cat([image(*size, seed=seed) for seed in range(count)])


@pytest.mark.parametrize("name", SMALLEST)
def test_a_batch_gives_what_its_pictures_give(name: str) -> None:
    model = filled(name)
    x = usable_input(model, 2)
    with torch.inference_mode():
        together = model(x)
        apart = torch.cat([model(x[:1]), model(x[1:])])
    assert (together - apart).abs().max() <= TOLERANCE * apart.std()


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite(name: str, dtype: torch.dtype) -> None:
    model = filled(name)
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype):
        logits = model(usable_input(model, 1, (64, 64)))
    assert logits.isfinite().all()


def without_gradient(model: Segmentor, x: Tensor) -> Iterator[str]:
    """What is to be trained and gets nothing; what the published networks freeze is in tests/training."""
    sum(out.float().square().mean() for out in outputs(model, x)).backward()  # type: ignore[union-attr]
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.isfinite().all()):
            yield key


# BEiT-L takes pictures of 640 x 640 only, and a step at that size holds 24 GB; BEiT-B is the same code.
@pytest.mark.parametrize("name", [case for case in ALL if "beit-large" not in str(case)])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = build(find(name), model_class=Segmentor, auxiliary=True)
    x = usable_input(model.eval(), 2, (64, 64))
    model.train()
    assert not list(without_gradient(model, x))


@pytest.mark.parametrize("name", SMALLEST)
def test_a_network_on_the_meta_device_takes_weights_whole(name: str) -> None:
    """Loading fills a network that was built without memory: nothing may be left that no file fills."""
    model = build(find(name), model_class=Segmentor, auxiliary=True, device="meta")
    model.load_state_dict(filled(name).state_dict(), assign=True)
    tensors = [*model.parameters(), *model.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)
    x = usable_input(filled(name), 1)
    with torch.inference_mode():
        assert torch.equal(model.eval()(x), filled(name)(x))


def test_logits_are_resized_with_the_flag_of_the_last_head() -> None:
    model = filled("fcn_r18-d8_512x1024_80k_cityscapes")
    x = image(64, 64)
    with torch.inference_mode():
        low = model.logits(x)
        assert low.shape[2:] == (8, 8)
        assert torch.equal(model(x), resize(low, (64, 64), align_corners=False))
    assert build(find("fcn_r18-d8_769x769_80k_cityscapes"), model_class=Segmentor, device="meta").align_corners


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(1, 1, 64, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        "street.jpg",
    ],
)
def test_what_is_no_normalised_batch_is_refused(x: object) -> None:
    model = build(find("fcn_r18-d8_512x1024_80k_cityscapes"), model_class=Segmentor, device="meta")
    with pytest.raises(InputSizeError, match=r"\(N, 3, H, W\)"):
        model(x)
