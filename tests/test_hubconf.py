"""torch.hub: every name of the index is an entry point, from any folder; a list builds no model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segzoo.index import default_index, find

ROOT = Path(__file__).resolve().parent.parent
SHORT = "fastfcn_r50_jpu_psp_cityscapes"

# torch.hub.list and torch.hub.help take a GitHub repository only; here they get the checkout in place of what they
# would have downloaded.
LOCAL = f"""
import json, sys, time
import torch
torch.hub._get_cache_or_reload = lambda *args, **kwargs: {str(ROOT)!r}
"""


def run(code: str, cwd: Path) -> str:
    """Run code in a new process, in a folder from which segzoo cannot be imported."""
    result = subprocess.run(
        [sys.executable, "-c", LOCAL + code], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def load(name: str, **options: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), name, source="local", trust_repo=True, **options)


def test_list_has_every_name_and_is_quick(tmp_path: Path) -> None:
    out = run(
        """
start = time.process_time()
names = torch.hub.list('org/segzoo', trust_repo=True)
print(json.dumps([names, time.process_time() - start, 'segzoo.segmentor' in sys.modules]))
""",
        tmp_path,
    )
    names, seconds, built = json.loads(out)
    wanted = {name for entry in default_index().entries.values() for name in entry.names}
    assert set(names) == wanted
    assert len(names) == len(wanted)
    assert seconds < 2.0
    assert not built


def test_help_is_written_from_the_entry(tmp_path: Path) -> None:
    out = run(f"print(torch.hub.help('org/segzoo', {SHORT!r}, trust_repo=True))", tmp_path)
    for wanted in (
        "FastFCN",
        "R-50-D32",
        "Cityscapes (19 classes)",
        "512x1024",
        "80000",
        "mIoU 79.26",
        "pretrained",
    ):
        assert wanted in out, wanted
    assert f"torch.hub.load('org/segzoo', '{SHORT}', trust_repo=True)" in out


def test_every_entry_has_help() -> None:
    module = torch.hub._import_module("hubconf.py", str(ROOT / "hubconf.py"))
    for name in dir(module):
        if name != "dependencies":
            assert find(name).name in getattr(module, name).__doc__


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_load_from_another_folder_and_move_on(tmp_path: Path, relative: bool) -> None:
    """What segzoo imports late is found even after torch.hub has taken the folder from sys.path again."""
    start, folder = (ROOT.parent, ROOT.name) if relative else (tmp_path, str(ROOT))
    out = run(
        f"""
import os
model = torch.hub.load({folder!r}, 'fast_scnn_cityscapes', source='local', pretrained=False)
os.chdir({str(tmp_path)!r})
import numpy
result = model.predict(numpy.zeros((96, 128, 3), dtype=numpy.uint8))
assert result.mask.shape == (96, 128), result.mask.shape
assert not model.training
print(model.entry.name)
""",
        start,
    )
    assert out.strip().splitlines()[-1] == find("fast_scnn_cityscapes").name


def test_each_spelling_loads_the_same_entry() -> None:
    entry = find("fast_scnn_cityscapes")
    assert any(not name.isidentifier() for name in entry.names)
    for name in entry.names:
        assert load(name, pretrained=False).entry == entry


def test_options_reach_the_model() -> None:
    model = load("fast_scnn_cityscapes", pretrained=False, num_classes=7, auxiliary=True)
    assert model.num_classes == 7
    assert model.auxiliary_head is not None
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 96)).shape == (1, 7, 64, 96)
    assert load("fast_scnn_cityscapes", pretrained=False).auxiliary_head is None


def test_pretrained_may_be_given_by_position() -> None:
    model = torch.hub.load(str(ROOT), "fast_scnn_cityscapes", False, source="local")
    assert model.entry == find("fast_scnn_cityscapes")


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Cannot find callable no_such_model"):
        load("no_such_model")
    with pytest.raises(TypeError, match="classes"):
        load("fast_scnn_cityscapes", pretrained=False, classes=3)


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    code = f"""
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'yaml' else found(name, package)
try:
    torch.hub.load({str(ROOT)!r}, {SHORT!r}, source='local', pretrained=False)
except RuntimeError as error:
    print(error)
"""
    assert "Missing dependencies: yaml" in run(code, tmp_path)


def test_folder_gives_one_name_only() -> None:
    """A checkout on sys.path must not shadow the user's own modules (`models`, `utils`)."""
    importable = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert importable - {"hubconf", "setup", "benchmarks", "tests"} == {"segzoo"}


def test_documented_lines_carry_trust_repo() -> None:
    for path in (
        ROOT / "README.md",
        ROOT / "hubconf.py",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "segzoo").rglob("*.py"),
    ):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "torch.hub.load('org" in line or 'torch.hub.load("org' in line:
                assert "trust_repo=True" in line, f"{path.name}: {line}"
