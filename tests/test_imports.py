"""Imports run one way, cost little, and change nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "segzoo"

# The floors of the house, from the ground up: a part imports from lower floors, or from itself.
FLOORS = (
    {"errors", "environment", "lazy", "allocator"},
    {"fields"},
    {"recipe"},
    {"index", "layers", "records"},
    {"describe", "backbones", "necks", "heads"},
    {"segmentor", "tables"},
    {"build", "weights"},
    {"inference"},
    {"model", "datasets"},
    {"evaluation", "export"},
    {"training"},
    {"segzoo"},  # the public names
    {"benchmark"},
    {"demo", "commands"},
    {"cli"},
    {"__main__"},
)


def part_of(module: str) -> str:
    """The part a module belongs to; every part's commands stand just below the command line."""
    parts = module.split(".")
    if parts[-1] in ("commands", "segzoo"):
        return parts[-1]
    return "index" if parts[1].startswith("index_") else parts[1]  # one part: what is read, and how


def floor(part: str) -> int:
    for number, parts in enumerate(FLOORS):
        if part in parts:
            return number
    pytest.fail(f"segzoo.{part} has no floor yet: say in {Path(__file__).name} from where it may import")


def imports(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """(line, module, name) of each import of segzoo in a file, those for type checkers only left out."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
                yield child
                yield from walk(child)

    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            if node.module and node.module.split(".")[0] == "segzoo":
                yield from ((node.lineno, node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "segzoo":
                    yield node.lineno, alias.name, None


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@pytest.mark.parametrize("module", [name for name in MODULES if name != "segzoo"])
def test_imports_run_downwards(module: str) -> None:
    own = part_of(module)
    for line, target, name in imports(MODULES[module]):
        if (target, name) == ("segzoo", "__version__"):
            continue
        if f"{target}.{name}" in MODULES:  # from segzoo import tables
            target = f"{target}.{name}"
        other = part_of(target)
        if other != own:
            assert floor(other) < floor(own), f"{module}:{line} imports {target}, which stands on or above its floor"


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_private(module: str) -> None:
    for line, target, name in imports(MODULES[module]):
        private = name is not None and name.startswith("_") and not name.endswith("__")
        assert not private, f"{module}:{line} imports {name} from {target}"


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_listing_needs_no_torch_and_is_quick() -> None:
    # The process's own time, its start included: what other processes do on the machine does not count.
    code = """
import segzoo
names = segzoo.list_models()
import json, sys, time
heavy = sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'torchvision', 'numpy', 'PIL'})
print(json.dumps([len(names), heavy, time.process_time()]))
"""
    runs = [json.loads(run(code)) for _ in range(3)]
    assert runs[0][0] >= 190
    assert runs[0][1] == []
    assert min(seconds for _, _, seconds in runs) < 0.4


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["list"],
        ["info", "fastfcn_r50_jpu_psp_cityscapes"],
        ["predict", "--help"],
        ["train", "--help"],
        ["tables"],
    ],
)
def test_commands_that_compute_nothing_import_no_torch(argv: list[str]) -> None:
    code = f"""
import sys
from segzoo.cli import main
try:
    main({argv!r})
except SystemExit:
    pass
assert 'torch' not in sys.modules and 'torchvision' not in sys.modules, 'torch was imported'
"""
    run(code)


def test_public_namespace_is_exactly_all() -> None:
    code = """
import segzoo
import types
public = {name for name in dir(segzoo) if not name.startswith('_') and name != 'annotations'}
public -= {name for name in public if isinstance(getattr(segzoo, name), types.ModuleType)}
assert public == {name for name in segzoo.__all__ if not name.startswith('_')}, public ^ set(segzoo.__all__)
for name in segzoo.__all__:
    getattr(segzoo, name)
try:
    segzoo.no_such_name
except AttributeError as error:
    assert 'no_such_name' in str(error)
else:
    raise AssertionError('an unknown name was found')
"""
    run(code)


def test_importing_everything_leaves_torch_as_it_was() -> None:
    code = f"""
import importlib, logging, random, signal, warnings
import numpy, requests, torch  # what these change is their own affair

def state():
    return (
        torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled(),
        torch.initial_seed(), random.getstate(), str(numpy.random.get_state()), warnings.filters[:],
        logging.root.level, logging.root.handlers[:], signal.getsignal(signal.SIGINT),
    )

before = state()
for name in {[name for name in MODULES if name != "segzoo.__main__"]!r}:
    importlib.import_module(name)
after = state()
assert before == after, [pair for pair in zip(before, after) if pair[0] != pair[1]]
"""
    run(code)
