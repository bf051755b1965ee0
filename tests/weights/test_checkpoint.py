"""Every form in which weights are found is read alike."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from segzoo.errors import CheckpointError
from segzoo.weights import convert, fetch, load_into, read, write_safetensors
from segzoo.weights.housekeeping import residue
from segzoo.weights.store import Store
from tests.weights.conftest import Target
from tests.weights.files import mmengine_installed, safetensors_bytes, small_model, small_state
from tests.weights.server import FaultServer

FORMS: dict[str, Any] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "meta": lambda state: {"meta": {"CLASSES": ("road", "sky"), "epoch": 3}, "state_dict": state, "optimizer": {}},
    "module.": lambda state: {"state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items())},
    "parameters": lambda state: {k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
def test_pth(tmp_path: Path, form: str, zipped: bool) -> None:
    state = small_state()
    path = tmp_path / "net.pth"
    torch.save(FORMS[form](state), path, _use_new_zipfile_serialization=zipped)
    checkpoint = read(path)
    assert list(checkpoint.tensors) == list(state)
    for name, value in state.items():
        assert torch.equal(checkpoint.tensors[name], value)
        assert checkpoint.tensors[name].dtype == value.dtype
        assert not checkpoint.tensors[name].requires_grad
    assert checkpoint.meta == ({"CLASSES": ["road", "sky"], "epoch": 3} if form == "meta" else {})


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_history_buffers_and_numpy_values(tmp_path: Path, zipped: bool) -> None:
    import numpy

    path = tmp_path / "net.pth"
    meta = {"lr": numpy.float64(0.25), "steps": numpy.array([1, 2, 3], dtype=numpy.int32), "name": "net", "raw": object}
    del meta["raw"]
    with mmengine_installed() as history:
        hub = {"log_scalars": OrderedDict(loss=history())}
        torch.save(
            {"state_dict": small_state(), "meta": meta, "message_hub": hub}, path,
            _use_new_zipfile_serialization=zipped,
        )  # fmt: skip
    checkpoint = read(path)
    assert set(checkpoint.tensors) == set(small_state())
    assert checkpoint.meta == {"lr": 0.25, "steps": [1, 2, 3], "name": "net"}


def test_users_additions_to_torchs_list_change_nothing(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # torch keeps a set: the order tells nothing
    torch.save(small_state(), tmp_path / "net.pth")
    read(tmp_path / "net.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_views_and_shared_storage_stay_small(tmp_path: Path) -> None:
    base = torch.arange(1000.0)
    torch.save({"a": base[:10], "b": base[:10], "c": base.view(10, 100).t()}, tmp_path / "net.pth")
    tensors = read(tmp_path / "net.pth").tensors
    assert torch.equal(tensors["c"], base.view(10, 100).t())
    assert tensors["a"].data_ptr() == tensors["b"].data_ptr()
    assert tensors["a"].untyped_storage().nbytes() == 40


def test_overwriting_a_users_file_changes_no_tensor(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(100_000)}, tmp_path / "net.pth")
    tensors = read(tmp_path / "net.pth").tensors
    (tmp_path / "net.pth").write_bytes(b"\0" * (tmp_path / "net.pth").stat().st_size)
    assert bool((tensors["a"] == 1).all())


def test_safetensors_are_mapped_and_never_written(tmp_path: Path) -> None:
    state = {**small_state(), "half": torch.ones(3, dtype=torch.float16), "flag": torch.tensor([True, False])}
    path = tmp_path / "net.safetensors"
    write_safetensors(path, state, {"format": "pt", "meta": json.dumps({"CLASSES": ["road"]})})
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    checkpoint = read(path)
    assert checkpoint.meta == {"format": "pt", "CLASSES": ["road"]}
    for name, value in state.items():
        assert torch.equal(checkpoint.tensors[name], value)
        assert checkpoint.tensors[name].dtype == value.dtype
    checkpoint.tensors["0.weight"].zero_()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_safetensors_of_the_library_are_read_and_ours_by_the_library(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = {**small_state(), "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "brain": torch.ones(5).bfloat16()}
    save_file(state, tmp_path / "theirs.safetensors")
    sha256 = write_safetensors(tmp_path / "ours.safetensors", state, {"format": "pt"})
    assert hashlib.sha256((tmp_path / "ours.safetensors").read_bytes()).hexdigest() == sha256
    assert write_safetensors(tmp_path / "again.safetensors", dict(reversed(state.items())), {"format": "pt"}) == sha256
    for tensors in (read(tmp_path / "theirs.safetensors").tensors, load_file(tmp_path / "ours.safetensors")):
        assert all(
            torch.equal(tensors[name], value) and tensors[name].shape == value.shape for name, value in state.items()
        )


def test_safetensors_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"z is torch.complex64"):
        write_safetensors(tmp_path / "net.safetensors", {"z": torch.zeros(1, dtype=torch.complex64)}, {})
    assert list(tmp_path.iterdir()) == []


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no weight file", "neither a .pth nor a .safetensors"),
    "a page": (b"<html>log in</html>", "is a web page"),
    "zip cut off": (b"PK\x03\x04" + b"x" * 100, "damaged or cut off"),
    "pickle cut off": (b"\x80\x02}q\x00(X", "damaged, cut off"),
    "safetensors cut off": (
        safetensors_bytes({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        "damaged",
    ),
    "safetensors header": (safetensors_bytes(b"{not json" + b" " * 20), "damaged"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


NO_STATE = {
    "a list": ([1, 2], "holds a list, not a state dict"),
    "a tensor": (torch.zeros(2), "holds a Tensor"),
    "no tensors": ({"lr": 0.1}, "holds no tensors"),
    "nothing": ({}, "holds no tensors"),
    "mixed": ({"a": torch.zeros(1), "epoch": 3}, "holds more than tensors: epoch"),
}


@pytest.mark.parametrize(("content", "reason"), NO_STATE.values(), ids=NO_STATE.keys())
def test_no_state_dict(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=reason):
        read(tmp_path / "net.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read(tmp_path / "net.pth")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_cut_is_noticed(tmp_path: Path, cut: float, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save(small_state(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(CheckpointError):
        read(path)


# the safetensors form of a cached .pth


@pytest.fixture
def cached(server: FaultServer, tmp_path: Path) -> tuple[Target, str, Path]:
    torch.save({"meta": {"CLASSES": ["road", "sky"]}, "state_dict": small_state()}, tmp_path / "net.pth")
    target = Target((tmp_path / "net.pth").read_bytes())
    address = server.put(target.path, target.content)
    return target, address, fetch(target.weights(address), name="net")


@pytest.mark.loopback
def test_cached_pth_is_kept_as_safetensors(cached: tuple[Target, str, Path]) -> None:
    target, address, path = cached
    first = read(path)
    again = fetch(target.weights(address), name="net")
    assert (path.suffix, again.suffix) == (".pth", ".safetensors")
    second = read(again)
    assert all(torch.equal(second.tensors[name], value) for name, value in first.tensors.items())
    assert second.meta["CLASSES"] == ["road", "sky"]
    assert second.meta["entry"] == "net"
    assert second.meta["source"] == address
    assert second.meta["source_sha256"] == target.sha256
    store = Store()
    path.unlink()
    assert fetch(target.weights(address), name="net") == again, "the .pth is not needed any more"
    assert [stored.is_copy for stored in store.files()] == [True]


@pytest.mark.loopback
def test_damaged_form_falls_back_to_the_original(
    cached: tuple[Target, str, Path], server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    target, address, path = cached
    read(path)
    form = fetch(target.weights(address), name="net")
    with form.open("ab") as file:
        file.write(b"!")
    assert fetch(target.weights(address), name="net") == path
    assert "is damaged" in caplog.text
    form.write_bytes(target.content)  # and one that nothing is recorded of is not believed at all
    assert fetch(target.weights(address), name="net") == path
    assert len(server.seen) == 1


@pytest.mark.loopback
def test_unreadable_cached_file_is_set_aside(cached: tuple[Target, str, Path]) -> None:
    target, address, path = cached
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CheckpointError, match="damaged and was set aside; ask again"):
        read(path)
    assert [r.reason for r in residue(Store())] == ["damaged"]
    assert read(fetch(target.weights(address), name="net")).tensors


@pytest.mark.loopback
def test_no_room_for_the_form_is_no_error(cached: tuple[Target, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segzoo.weights.conversion.write_safetensors", full)
    _, _, path = cached
    assert read(path).tensors
    assert [stored.path for stored in Store().files()] == [path]


# conversion


def test_convert(tmp_path: Path) -> None:
    source = tmp_path / "net.pth"
    torch.save(
        {"meta": {"CLASSES": ["road"]}, "state_dict": small_state()}, source, _use_new_zipfile_serialization=False
    )
    path, sha256 = convert(source, address="https://example.org/net.pth")
    assert path == tmp_path / "net.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    checkpoint = read(path)
    assert checkpoint.meta["source"] == "https://example.org/net.pth"
    assert checkpoint.meta["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    model = small_model()
    with torch.no_grad():
        model[0].weight.zero_()
    load_into(model, checkpoint.tensors, source="net")
    assert torch.equal(model[0].weight, small_state()["0.weight"])
    with pytest.raises(CheckpointError, match="is safetensors already"):
        convert(path)
