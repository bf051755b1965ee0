"""The package as others get it: the wheel in a clean environment, the sdist, an editable install."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import segzoo

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys\nfrom setuptools import build_meta\nprint(build_meta.build_{kind}(sys.argv[1]))"


def call(*argv: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{argv}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    name = call(sys.executable, "-c", BUILD.format(kind=kind), out, cwd=source).strip().splitlines()[-1]
    return out / name


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree: a build leaves nothing in the checkout, and finds nothing of an earlier one."""
    folder = tmp_path_factory.mktemp("source") / "segzoo"
    for name in ("segzoo", "model_index", "benchmarks", "tests", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist: what the sdist lacks, the wheel lacks."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def environment(folder: Path, wheel: Path) -> Path:
    """A new environment with segzoo in it and this process's other packages behind it; returns its bin."""
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    # pip is told where to install rather than run there: the new environment has none.
    call(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder.parent)
    behind = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    own = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip()
    (Path(own) / "behind.pth").write_text("\n".join(behind) + "\n", encoding="utf-8")
    return scripts


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("clean") / "env", wheel)


@pytest.fixture(scope="module")
def names(source: Path) -> list[str]:
    """What a plain checkout lists."""
    code = "import segzoo; print(*segzoo.list_models(), sep='\\n')"
    found = call(sys.executable, "-c", code, cwd=source).splitlines()
    assert len(found) >= 190
    return found


def files(folder: Path) -> set[str]:
    """Paths of all files below a folder of a source tree, from the tree's root."""
    found = {path.relative_to(folder.parent) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_wheel_holds_the_package_and_nothing_else(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    index = {f"segzoo/{name}" for name in files(source / "model_index")}
    assert {name for name in names if ".dist-info/" not in name} == files(source / "segzoo") | index
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(path).decode()
    assert f"\nVersion: {segzoo.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    assert re.search(r"\nLicense(-Expression)?: Apache-2.0\n", metadata)
    for extra in ("test", "dev", "export", "geo", "tensorboard"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    assert "\n# segzoo" in metadata  # the README is the long description


def requirements(*extras: str) -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    blocks = [config["options"]["install_requires"], *(config["options.extras_require"][name] for name in extras)]
    return [line for block in blocks for line in block.split("\n") if line]


def test_no_dependency_has_an_upper_bound() -> None:
    found = requirements("test", "dev", "export", "geo", "tensorboard")
    assert "torch>=2.6" in found
    for requirement in found:
        assert re.fullmatch(r"[A-Za-z0-9_-]+(>=[0-9.]+)?", requirement), requirement


def test_dependencies_are_what_the_package_imports() -> None:
    """Both ways: nothing is imported that an install does not bring, nothing is brought that nobody imports."""
    imported = set()
    for path in (ROOT / "segzoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    modules = {"pillow": "PIL", "PyYAML": "yaml"}
    names = {requirement.partition(">=")[0] for requirement in requirements()}
    optional = {requirement.partition(">=")[0] for requirement in requirements("export", "geo")} - names
    foreign = imported - set(sys.stdlib_module_names) - {"segzoo"} - optional
    assert foreign == {modules.get(name, name) for name in names}


def test_wheel_works_in_a_clean_environment(installed: Path, names: list[str], tmp_path: Path) -> None:
    python = installed / Path(sys.executable).name
    code = "import segzoo; print(segzoo.__file__); print(*segzoo.list_models(), sep='\\n')"
    where, *found = call(python, "-I", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert found == names
    assert call(installed / "segzoo", "list", "--names", cwd=tmp_path).splitlines() == names


def test_embedded_model_loads_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    (name,) = (name for name in segzoo.list_models() if segzoo.info(name).weights.addresses[0].startswith("asset:"))
    code = f"""
import socket
def refuse(*args, **kwargs):
    raise AssertionError('the network was used')
socket.socket.connect = refuse
import numpy, segzoo
model = segzoo.load({name!r})
result = model.predict(numpy.full((128, 256, 3), 127, dtype=numpy.uint8))
print(segzoo.__file__, result.mask.shape)
"""
    out = call(installed / Path(sys.executable).name, "-I", "-c", code, cwd=tmp_path)
    assert str(installed.parent) in out
    assert out.strip().endswith("(128, 256)")


def test_editable_install_finds_the_index_of_the_checkout(source: Path, names: list[str], tmp_path: Path) -> None:
    scripts = environment(tmp_path / "env", build("editable", source, tmp_path))
    code = "import segzoo; print(segzoo.__file__); print(*segzoo.list_models(), sep='\\n')"
    where, *found = call(scripts / Path(sys.executable).name, "-I", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(source)
    assert found == names


def test_sdist_holds_what_a_packager_needs(sdist: Path, source: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "ZOO.md", "hubconf.py", "setup.cfg"):
        assert wanted in names, wanted
    for folder in ("tests", "benchmarks", "model_index", "segzoo", ".ci"):
        mine = files(source / folder)
        assert mine <= names, mine - names
