"""The builder: tables, options and their faults."""

from __future__ import annotations

import dataclasses
import importlib

import pytest

from segzoo.build import BACKBONES, HEADS, NECKS, build, component, labels_of
from segzoo.errors import IndexSchemaError, OptionError, UnknownNameError
from segzoo.index import ModuleSpec, default_index, find
from segzoo.segmentor import Segmentor


def test_the_tables_name_classes_that_exist_and_are_used() -> None:
    used = set()
    for entry in default_index().entries.values():
        spec = entry.architecture
        for part in (spec.backbone, spec.neck, spec.decode_head, spec.auxiliary_head):
            used |= {p.type for p in (part if isinstance(part, tuple) else (part,)) if p is not None}
    for table in (BACKBONES, NECKS, HEADS):
        for name, module in table.items():
            assert callable(getattr(importlib.import_module(module), name))
    assert used == {*BACKBONES, *NECKS, *HEADS}


def test_an_unknown_part_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"'ResNetto'.*ResNet"):
        component(BACKBONES, ModuleSpec("ResNetto"))


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(IndexSchemaError, match="colour"):
        component(BACKBONES, ModuleSpec("ResNet", {"depth": 18, "colour": "red"}))


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, True, "19"])
def test_a_number_of_classes_that_is_none_is_refused(num_classes: object) -> None:
    with pytest.raises(OptionError, match="num_classes"):
        labels_of(find("fast_scnn_cityscapes"), num_classes)  # type: ignore[arg-type]


def test_another_number_of_classes_gets_names_and_colours_of_its_own() -> None:
    entry = find("fast_scnn_cityscapes")
    model = build(entry, model_class=Segmentor, labels=labels_of(entry, 5), auxiliary=True, device="meta")
    assert model.num_classes == 5
    assert model.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert len(set(model.palette)) == 5
    assert model.state_dict()["auxiliary_head.1.conv_seg.weight"].shape[0] == 5
    assert build(entry, model_class=Segmentor, device="meta").classes == entry.classes


def test_auxiliary_heads_are_built_only_on_request() -> None:
    entry = find("fast_scnn_cityscapes")
    without = build(entry, model_class=Segmentor, device="meta")
    assert without.auxiliary_head is None
    assert not any(key.startswith("auxiliary") for key in without.state_dict())


def test_a_backbone_says_its_channels_and_strides() -> None:
    backbone = component(BACKBONES, ModuleSpec("ResNet", {"depth": 50, "strides": [1, 2, 1, 1], "out_indices": [1, 3]}))
    assert backbone.channels == (512, 2048)
    assert backbone.strides == (8, 8)


def test_an_entry_is_not_changed_by_building() -> None:
    entry = find("fast_scnn_cityscapes")
    before = dataclasses.asdict(entry)
    build(entry, model_class=Segmentor, labels=labels_of(entry, 3), device="meta")
    assert dataclasses.asdict(entry) == before
