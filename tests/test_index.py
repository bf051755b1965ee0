"""The index: every name resolves, every fault of a file is named, what is published is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from segzoo.errors import AmbiguousNameError, IndexSchemaError, OptionError, UnknownNameError
from segzoo.index import Index, dataset, datasets, default_index, find, index_directory, info, list_models
from segzoo.index_schema import read_datasets, read_entries

ENTRIES = default_index().entries

METHOD_FILE = """
method: Testnet
paper: {title: A test, url: https://example.org}
protocols:
  whole: {scale: [2048, 1024], mean: [1, 2, 3], std: [1, 1, 1], mode: whole}
architectures:
  r18:
    backbone: {type: ResNet, depth: 18}
    decode_head: {type: FCNHead, channels: 8}
entries:
  testnet_a:
    aliases: [test-net.a]
    architecture: r18
    backbone: R-18
    dataset: cityscapes
    num_classes: 19
    align_corners: false
    protocol: whole
    weights: {addresses: ["https://example.org/a-0123abcd.pth"], sha256_prefix: 0123abcd}
    reported: {metrics: {mIoU: 70.0}}
"""


def write(tmp_path: Path, change: dict[str, object] | None = None, text: str = METHOD_FILE) -> Path:
    """The method file above with fields of its entry replaced, or removed where the new value is ``...``."""
    content = yaml.safe_load(text)
    for field, value in (change or {}).items():
        if value is ...:
            del content["entries"]["testnet_a"][field]
        else:
            content["entries"]["testnet_a"][field] = value
    path = tmp_path / "testnet.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_method_file_is_read(tmp_path: Path) -> None:
    (entry,) = read_entries(write(tmp_path))
    assert entry.name == "testnet_a"
    assert entry.method == "Testnet"
    assert entry.architecture.backbone.type == "ResNet"
    assert entry.architecture.backbone.arguments == {"depth": 18}
    assert entry.protocol.scale == (2048, 1024)
    assert entry.weights.sha256_prefix == "0123abcd"
    assert entry.names == ("testnet_a", "test-net.a", "a-0123abcd")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"num_classes": "many"}, "num_classes"),
        ({"num_classes": True}, "num_classes"),
        ({"align_corners": 0}, "align_corners"),
        ({"dataset": ...}, "dataset"),
        ({"architecture": "r19"}, "architecture"),
        ({"protocol": "slide"}, "protocol"),
        ({"crop_size": [512]}, "crop_size"),
        ({"crop_size": [512, "x"]}, "crop_size"),
        ({"speed": 3}, "speed"),
        ({"aliases": "one"}, "aliases"),
        ({"weights": {"addresses": []}}, "addresses"),
        ({"weights": {"addresses": ["a"], "sha256": "123"}}, "sha256"),
        ({"weights": {"addresses": ["a"], "sha256_prefix": "XYZ"}}, "sha256_prefix"),
        ({"reported": {"metrics": {"mIoU": "good"}}}, "mIoU"),
        ({"reported": {"inference": {"ms": 3.0}}}, "hardware"),
    ],
)
def test_a_fault_names_file_entry_and_field(tmp_path: Path, change: dict[str, object], field: str) -> None:
    with pytest.raises(IndexSchemaError) as error:
        list(read_entries(write(tmp_path, change)))
    message = str(error.value)
    assert "testnet.yaml" in message
    assert "testnet_a" in message
    assert field in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mode: whole}", "mode: tiles}", ("protocols.whole", "mode")),
        ("mode: whole}", "mode: slide}", ("protocols.whole", "crop_size")),
        ("mean: [1, 2, 3]", "mean: [1, 2]", ("protocols.whole", "mean")),
        ("decode_head: {type: FCNHead, channels: 8}", "", ("architectures.r18", "decode_head")),
        ("{type: ResNet, depth: 18}", "{depth: 18}", ("architectures.r18.backbone", "type")),
        ("method: Testnet", "", ("method",)),
        ("testnet_a:", "testnet-a:", ("testnet-a", "identifier")),
        ("paper: {", "paper: }", ("YAML",)),
    ],
)
def test_a_fault_outside_the_entries_is_named(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "testnet.yaml"
    path.write_text(METHOD_FILE.replace(old, new))
    with pytest.raises(IndexSchemaError) as error:
        list(read_entries(path))
    assert all(word in str(error.value) for word in ("testnet.yaml", *words))


def test_an_entry_that_the_scan_would_miss_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "testnet.yaml"
    head, entries = METHOD_FILE.split("entries:\n")
    path.write_text(f"{head}entries: {yaml.safe_dump(yaml.safe_load(entries), default_flow_style=True, width=10**6)}")
    with pytest.raises(IndexSchemaError, match=r"testnet\.yaml: entry 'testnet_a': write each"):
        list(read_entries(path))


def test_an_entry_in_two_files_names_both(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(METHOD_FILE)
    with pytest.raises(IndexSchemaError, match=r"testnet\.yaml: entry 'testnet_a' is also in other\.yaml"):
        Index([other, write(tmp_path)])


def test_a_data_set_whose_colours_do_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text("tiny: {title: Tiny, classes: [a, b], palette: ['#000000']}")
    with pytest.raises(IndexSchemaError, match=r"datasets.yaml: data set 'tiny': field 'palette' has 1 colours for 2"):
        read_datasets(path)


def test_no_name_could_mean_two_entries() -> None:
    assert default_index().ambiguous() == {}


def test_an_ambiguous_name_lists_its_owners(tmp_path: Path) -> None:
    twice = METHOD_FILE + METHOD_FILE.split("entries:\n")[1].replace("testnet_a", "testnet_b")
    path = tmp_path / "testnet.yaml"
    path.write_text(twice)
    index = Index([path])
    with pytest.raises(AmbiguousNameError, match="testnet_a, testnet_b"):
        index.find("test-net.a")
    assert index.find("testnet_b").name == "testnet_b"


def test_an_unknown_name_lists_close_ones() -> None:
    with pytest.raises(UnknownNameError, match="pspnet_r50_d8_512x1024_40k_cityscapes"):
        find("pspnet_r50_d8_512x1024_40k_cityscape")
    with pytest.raises(UnknownNameError, match="list_models"):
        find("zzzzzz")
    with pytest.raises(OptionError, match="string"):
        find(3)  # type: ignore[arg-type]


def test_every_name_of_every_entry_resolves_to_it() -> None:
    for entry in ENTRIES.values():
        for name in entry.names:
            assert find(name).name == entry.name
            assert find(re.sub(r"[-.]", "_", name)).name == entry.name
        assert find(entry.weights.filename).name == entry.name


def test_every_entry_names_known_things() -> None:
    for entry in ENTRIES.values():
        assert len(entry.classes) == len(entry.palette) == entry.num_classes, entry.name
        assert entry.weights.sha256 or entry.weights.sha256_prefix, entry.name
        if entry.weights.sha256_prefix:
            assert entry.weights.sha256_prefix in entry.weights.filename, entry.name
        assert all(address.startswith(("https://", "asset:")) for address in entry.weights.addresses), entry.name
    assert {entry.dataset for entry in ENTRIES.values()} <= set(datasets())


def test_every_published_entry_is_listed() -> None:
    published = json.loads((Path(__file__).parent / "golden" / "fingerprints.json").read_text())
    drawn = {name for name, entry in ENTRIES.items() if entry.dataset == "drawn_streets"}
    assert len(published) == 602
    assert set(ENTRIES) - drawn == set(published)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("fastfcn_r50_jpu_psp_cityscapes", "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"),
        ("fastfcn_r50-d32_jpu_psp_512x1024_80k_cityscapes", "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"),
        # The published 1.x list gives this name to two files; it belongs to the first.
        ("fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024", "fastfcn_r50_d32_jpu_psp_512x1024_80k_cityscapes"),
        ("fastfcn_r50-d32_jpu_psp_4xb4-80k_cityscapes-512x1024", "fastfcn_r50_d32_jpu_psp_4x4_512x1024_80k_cityscapes"),
        ("pspnet_r50b-d32_4xb2-80k_cityscapes-512x1024", "pspnet_r50b_d32_512x1024_80k_cityscapes"),
        ("deeplabv3plus_r101-d8_4xb4-80k_ade20k-512x512", "deeplabv3plus_r101_d8_512x512_80k_ade20k"),
        (
            "pspnet_r50-d8_512x1024_40k_cityscapes_20200605_003338-2966598c.pth",
            "pspnet_r50_d8_512x1024_40k_cityscapes",
        ),
        ("fast_scnn_cityscapes", "fast_scnn_lr0_12_8x4_160k_cityscapes"),
    ],
)
def test_each_generation_of_names_resolves(name: str, canonical: str) -> None:
    assert info(name).name == canonical


def test_both_addresses_of_a_file_published_twice_are_listed() -> None:
    first, second = find("fastfcn_r50_jpu_psp_cityscapes").weights.addresses
    assert "/v0.5/fastfcn/fastfcn_r50" in first
    assert "/v0.5/fastfcn/fastfcn/fastfcn_r50" in second


def test_a_protocol_says_all_that_decides_a_pixel() -> None:
    protocol = find("pspnet_r50-d8_769x769_40k_cityscapes").protocol
    assert (protocol.mode, protocol.crop_size, protocol.stride) == ("slide", (769, 769), (513, 513))
    assert protocol.scale == (2049, 1025)
    assert find("pspnet_r50-d8_769x769_40k_cityscapes").align_corners
    assert find("pspnet_r50_ade20k").protocol.scale == (2048, 512)


def test_list_models_filters_and_sorts() -> None:
    assert list_models() == sorted(ENTRIES)
    jpu = list_models("fastfcn*jpu_psp*")
    assert jpu
    assert all("jpu_psp" in name for name in jpu)
    assert list_models("jpu_psp") == jpu
    ade = list_models(method="pspnet", dataset="ADE20K", backbone="r-50-d8")
    assert {find(name).dataset for name in ade} == {"ade20k"}
    assert {find(name).backbone for name in ade} == {"R-50-D8"}
    best = [find(name).reported.metrics["mIoU"] for name in list_models(dataset="ade20k", sort="mIoU")]
    assert best == sorted(best, reverse=True)
    fastest = [find(n).reported.inference for n in list_models(method="PSPNet", sort="fps")]
    assert fastest[0] is not None
    assert fastest[-1] is None
    with pytest.raises(OptionError, match="sort='size'"):
        list_models(sort="size")  # type: ignore[arg-type]


def test_data_sets_have_the_published_classes() -> None:
    cityscapes = dataset("cityscapes")
    assert cityscapes.classes[:3] == ("road", "sidewalk", "building")
    assert cityscapes.palette[0] == (128, 64, 128)
    assert {name: len(dataset(name).classes) for name in ("ade20k", "voc12aug", "coco_stuff164k")} == {
        "ade20k": 150,
        "voc12aug": 21,
        "coco_stuff164k": 171,
    }
    with pytest.raises(UnknownNameError, match="cityscapes"):
        dataset("citiscapes")


def test_the_index_is_found_beside_the_package() -> None:
    assert (index_directory() / "datasets.yaml").is_file()


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("deeplabv3plus_r50_cityscape", "deeplabv3plus_r50_cityscapes"),
        ("segformer_b0", "segformer_mit_b0_ade20k"),
        ("fastfcn_r50_psp_cityscapes", "fastfcn_r50_jpu_psp_cityscapes"),
        ("pspnet_r50_d8_512x1024_cityscapes", "pspnet_r50_d8_512x1024_40k_cityscapes"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(asked: str, offered: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"did you mean {offered}[,?]"):
        default_index().find(asked)
