"""Files that want to do harm: none runs, none loads."""

from __future__ import annotations

import io
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segzoo.errors import CheckpointError
from segzoo.weights import read
from tests.weights.files import archive, legacy, mmengine_installed, pickled_call, safetensors_bytes, small_state


def _marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def _nested(marker: Path) -> bytes:
    """The call hides in the arguments of a harmless one, inside a state dict."""
    inner = pickled_call("os system", f"touch {marker}")[2:-1]
    return b"\x80\x02}X\x01\x00\x00\x00accollections\nOrderedDict\n" + inner + b"\x85Rs."


def _with_getattr(marker: Path) -> bytes:
    """Reach a function by getattr, which stands in for HistoryBuffer's methods only."""
    name = pickle.dumps("system", protocol=2)[2:-1]
    return b"\x80\x02c__builtin__\ngetattr\n(cos\nsystem\n" + name + b"tR."


def _build_on_a_class(marker: Path) -> bytes:
    state = pickle.dumps({"items": "x"}, protocol=2)[2:-1]
    return b"\x80\x02ccollections\nOrderedDict\n" + state + b"b."


def _stack_global(marker: Path) -> bytes:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    return pickle.dumps({"state_dict": Evil()}, protocol=4)


PICKLES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "os.system": (lambda m: pickled_call("os system", f"touch {m}"), r"os\.system|posix\.system"),
    "posix.system": (lambda m: pickled_call("posix system", f"touch {m}"), r"posix\.system"),
    "eval": (lambda m: pickled_call("__builtin__ eval", f"open({str(m)!r}, 'w')"), r"eval"),
    "exec": (lambda m: pickled_call("builtins exec", f"open({str(m)!r}, 'w')"), r"exec"),
    "open": (lambda m: pickled_call("io open", str(m), "w"), r"io\.open"),
    "import": (lambda m: pickled_call("__builtin__ __import__", "antigravity"), r"__import__"),
    "subprocess": (lambda m: pickled_call("subprocess check_output", ["touch", str(m)]), r"subprocess\.check_output"),
    "pickle in pickle": (
        lambda m: pickled_call("pickle loads", pickled_call("os system", f"touch {m}")),
        "pickle.loads",
    ),
    "torch.load": (lambda m: pickled_call("torch load", str(m)), r"torch\.load"),
    "torch.hub": (lambda m: pickled_call("torch.hub load", "x/y", "z"), r"torch\.hub\.load"),
    "torch storage loader": (lambda m: pickled_call("torch.storage _load_from_bytes", b"x"), "_load_from_bytes"),
    "torch loader by name": (lambda m: pickled_call("torch.serialization load", str(m)), r"torch\.serialization\.load"),
    "torch jit": (lambda m: pickled_call("torch.jit._script unpackage_script_module", "x"), r"torch\.jit"),
    "numpy loader": (lambda m: pickled_call("numpy load", str(m)), r"numpy\.load"),
    "functools": (lambda m: pickled_call("functools partial", str(m)), r"functools\.partial"),
    "runpy": (lambda m: pickled_call("runpy _run_code", "x"), r"runpy\._run_code"),
    "mmengine config": (
        lambda m: pickled_call("mmengine.config.config Config", "x"),
        r"mmengine\.config\.config\.Config",
    ),
    "nested": (_nested, r"os\.system"),
    "getattr": (_with_getattr, r"os\.system|getattr"),
    "state on a class": (_build_on_a_class, "more than tensors and plain data"),
    "protocol 4": (_stack_global, "system"),
    "getattr of a builtin": (
        lambda m: b"\x80\x02c__builtin__\ngetattr\n(ccollections\nOrderedDict\nX\x07\x00\x00\x00popitemtR.",
        "getattr",
    ),
}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("case", PICKLES)
def test_code_is_refused_by_name_and_never_run(tmp_path: Path, case: str, container: str) -> None:
    make, named = PICKLES[case]
    write = archive if container == "zip" else legacy
    path = write(tmp_path / "net.pth", make(_marker(tmp_path)))
    with pytest.raises(CheckpointError, match=named):
        read(path)
    assert not _marker(tmp_path).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pth"]


def test_the_corpus_does_harm_to_those_who_unpickle(tmp_path: Path) -> None:
    """The tests above prove nothing unless these pickles work where they are obeyed."""
    for case in ("os.system", "eval", "exec", "open", "subprocess", "pickle in pickle", "nested", "protocol 4"):
        marker = tmp_path / case
        make, _ = PICKLES[case]
        (tmp_path / "evil.pkl").write_bytes(make(_marker(tmp_path)))
        code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
        subprocess.run([sys.executable, "-c", code, tmp_path / "evil.pkl"], capture_output=True, check=False)
        assert _marker(tmp_path).exists(), case
        _marker(tmp_path).unlink()
        assert not marker.exists()


def test_the_environment_cannot_switch_the_check_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = archive(tmp_path / "net.pth", PICKLES["os.system"][0](_marker(tmp_path)))
    with pytest.raises(CheckpointError, match=r"system"):
        read(path)
    assert not _marker(tmp_path).exists()


class Innocent:
    """A class that a program has told torch to trust, for its own files."""

    def __init__(self, path: str) -> None:
        Path(path).touch()


def test_what_others_allow_is_not_allowed_here(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.pth", pickled_call(f"{__name__} Innocent", str(_marker(tmp_path))))
    with torch.serialization.safe_globals([Innocent]), pytest.raises(CheckpointError, match="Innocent"):
        read(path)
    assert not _marker(tmp_path).exists()


def test_history_buffer_runs_nothing_of_its_class(tmp_path: Path) -> None:
    with mmengine_installed() as history:
        torch.save({"state_dict": small_state(), "message_hub": history()}, tmp_path / "net.pth")
    assert "mmengine" not in sys.modules
    assert read(tmp_path / "net.pth").tensors
    assert "mmengine" not in sys.modules


def test_object_arrays_are_not_decoded(tmp_path: Path) -> None:
    import numpy

    torch.save(
        {"state_dict": small_state(), "meta": {"x": numpy.array(["a", None], dtype=object)}}, tmp_path / "net.pth"
    )
    assert read(tmp_path / "net.pth").meta == {"x": None}


# containers


def _saved(path: Path) -> dict[str, bytes]:
    torch.save({"a": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def _rewrite(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    members = _saved(path)
    members["net/data/0"] = b"\0" * 60_000_000
    _rewrite(path, members, zipfile.ZIP_DEFLATED)
    del members
    assert path.stat().st_size < 1_000_000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 30_000


def test_bomb_of_overlapping_members(tmp_path: Path) -> None:
    """Many directory entries that all point at one large member: small on the disk, huge when read one by one."""
    path = tmp_path / "net.pth"
    members = _saved(path)
    members["net/data/0"] = b"\0" * 100_000
    _rewrite(path, members)
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        info = file.getinfo("net/data/0")
        stream = io.BytesIO(content)
        with zipfile.ZipFile(stream, "a") as out:
            for i in range(1, 50):
                twin = zipfile.ZipInfo(f"net/data/{i}")
                twin.header_offset, twin.CRC = info.header_offset, info.CRC
                twin.file_size = twin.compress_size = info.file_size
                out.filelist.append(twin)
                out.NameToInfo[twin.filename] = twin
            out._didModify = True  # type: ignore[attr-defined]
    path.write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError, match=r"repeat or overlap|damaged"):
        read(path)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "net/../../evil", "other/data/1", "net\\..\\evil", "evil", "net//x"]
)
def test_path_tricks(tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.pth"
    _rewrite(path, {**_saved(path), name: b"x"})
    with pytest.raises(CheckpointError, match=r"which torch\.save does not write"):
        read(path)


def test_repeated_member(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    members = _saved(path)
    _rewrite(path, members)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("net/data.pkl", pickled_call("os system", "true"))
    with pytest.raises(CheckpointError, match="repeat or overlap"):
        read(path)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_archive_without_a_pickle_and_a_program(tmp_path: Path) -> None:
    _rewrite(tmp_path / "net.pth", {"net/readme": b"hello"})
    with pytest.raises(CheckpointError, match=r"no data.pkl"):
        read(tmp_path / "net.pth")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), str(tmp_path / "program.pth"))
    with pytest.raises(CheckpointError, match=r"TorchScript|does not write"):
        read(tmp_path / "program.pth")


@pytest.mark.parametrize("count", [1 << 20, 1 << 40])
def test_storage_that_claims_more_than_there_is(tmp_path: Path, count: int) -> None:
    path = tmp_path / "net.pth"
    _claim(path, count)
    with pytest.raises(CheckpointError):
        read(path)


def test_storage_past_its_record_holds_nothing_but_the_file(tmp_path: Path) -> None:
    """Memory beyond the record must never be handed out; the file's own bytes do no harm."""
    path = tmp_path / "net.pth"
    _claim(path, 5)
    values = read(path).tensors["a"]
    assert values[:4].tolist() == [0, 1, 2, 3]
    assert values.numpy().tobytes() in path.read_bytes()


def _claim(path: Path, count: int) -> None:
    """Write a file whose one storage, of four numbers, is said to hold ``count``."""
    members = _saved(path)
    number = b"\x8a\x08" + count.to_bytes(8, "little")
    claimed = members["net/data.pkl"].replace(b"cpuq\x06K\x04tq", b"cpuq\x06" + number + b"tq")
    claimed = claimed.replace(b"QK\x00K\x04\x85", b"QK\x00" + number + b"\x85")
    assert claimed != members["net/data.pkl"]
    _rewrite(path, {**members, "net/data.pkl": claimed})


def test_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    members = _saved(path)
    larger = members["net/data.pkl"].replace(b"QK\x00K\x04\x85", b"QK\x00K\x40\x85")
    assert larger != members["net/data.pkl"]
    _rewrite(path, {**members, "net/data.pkl": larger})
    with pytest.raises(CheckpointError):
        read(path)


def test_legacy_storage_that_claims_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"a": torch.arange(4.0)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    claimed = content.replace(b"K\x04Ntq", b"\x8a\x06" + (1 << 40).to_bytes(6, "little") + b"Ntq")
    assert claimed != content
    path.write_bytes(claimed)
    with pytest.raises(CheckpointError):
        read(path)


SAFETENSORS = {
    "header longer than the file": b"\xff" * 8 + b"{}",
    "past the end": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b"x" * 8
    ),
    "overlapping": safetensors_bytes(
        {n: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for n in ("a", "b")}, b"x" * 8
    ),
    "shape against bytes": safetensors_bytes({"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 8]}}, b"x" * 8),
    "unknown type": safetensors_bytes({"a": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 8]}}, b"x" * 8),
    "deep header": safetensors_bytes(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "negative": safetensors_bytes({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [8, 0]}}, b"x" * 8),
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS.keys())
def test_hostile_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        read(tmp_path / "net.safetensors")


def test_deep_meta_is_cut_off(tmp_path: Path) -> None:
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"x": deep}
    torch.save({"state_dict": small_state(), "meta": deep}, tmp_path / "net.pth")
    assert read(tmp_path / "net.pth").meta["x"]["x"]
