"""A network as a file: ONNX, or torch's exported program."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from segzoo import __version__
from segzoo.errors import ExportError, OptionError
from segzoo.export.checking import Agreement, check, sample
from segzoo.export.pooling import ExactPooling
from segzoo.segmentor import Segmentor

__all__ = ["Exported", "Format", "export"]

Format = Literal["onnx", "torch_export"]

_DEFAULT_SIZE = (512, 1024)  # of entries that name no crop
_INPUT = "float32 (N, 3, H, W): RGB pixels, 0 to 255, minus mean, divided by std"
_OUTPUT = "float32 (N, classes, H, W): logits at the input's size"


@dataclass(frozen=True)
class Exported:
    """What was written. ``size``: (height, width) that the network was traced at; ``agreements``: see ``check``."""

    path: Path
    format: Format
    size: tuple[int, int]
    dynamic: bool
    agreements: tuple[Agreement, ...]

    def __str__(self) -> str:
        sizes = "any size" if self.dynamic else "this size only"
        found = ", ".join(map(str, self.agreements))
        return (
            f"{self.path}: {self.format} at {self.size[0]} x {self.size[1]}, {sizes}, "
            f"{self.path.stat().st_size / 2**20:.1f} MiB; errors: {found}"
        )


def export(
    model: Segmentor,
    path: str | os.PathLike[str],
    *,
    format: Format,
    size: tuple[int, int] | None = None,
    dynamic: bool = False,
    batch: int = 1,
) -> Exported:
    """Write ``model`` as a file for another runtime, read it back, and compare what it computes.

    The file's network maps ``input``, float32 (N, 3, H, W) normalised as the entry's protocol says, to ``logits``
    (N, classes, H, W) at the input's size. Adaptive pooling is exact at every size (:mod:`segzoo.export.pooling`).
    Classes, colours, mean, deviation and protocol are stored in it: as the ONNX model's metadata under ``segzoo.*``,
    or as the exported program's extra file ``segzoo.json``.

    Args:
        model: the network, in either mode; it is exported in evaluation mode, on the CPU and in its own weights.
        path: the file to write; it has its name only once it is whole and computes what the model does. Weights
            above ONNX's limit of 2 GB stand beside it, in a file of the same name and ``.data``.
        format: ``'onnx'`` (needs ``segzoo[export]``), or ``'torch_export'`` for ``torch.export.load``.
        size: (height, width) that the network is traced at; default: the entry's crop.
        dynamic: leaves height and width open, where the architecture allows it.
        batch: how many pictures the file's network takes at once.

    Raises:
        OptionError: an unknown format, or a size that is none.
        InputSizeError: the architecture does not take that size.
        ExportError: the architecture cannot be exported so, a package is missing, or the file computes something else.
    """
    if format not in get_args(Format):
        raise OptionError(f"format is {' or '.join(get_args(Format))}, not {format!r}")
    height, width = size or model.entry.crop_size or _DEFAULT_SIZE
    if min(height, width) < 1:
        raise OptionError(f"size is (height, width) in pixels, not {size!r}")
    if batch < 1:
        raise OptionError(f"batch is a number of pictures, not {batch!r}")
    _check_capability(model, format, dynamic)
    target = Path(path)
    with _evaluating(model), tempfile.TemporaryDirectory(dir=target.parent, prefix=".export") as folder:
        program = _trace(model, sample((height, width), batch), dynamic)
        partial = Path(folder) / target.name
        _WRITERS[format](program, partial, _metadata(model, (height, width), dynamic))
        agreements = check(model, partial, format, _sizes((height, width), dynamic), batch)
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == partial):  # the model after its data
            os.replace(file, target.with_name(file.name))
    return Exported(target, format, (height, width), dynamic, agreements)


def _check_capability(model: Segmentor, format: Format, dynamic: bool) -> None:
    allowed = model.entry.architecture.export
    if allowed == "none":
        raise ExportError(f"{model.entry.name}: this architecture cannot be exported")
    if dynamic and allowed == "fixed":
        raise ExportError(
            f"{model.entry.name}: this architecture is exported at a fixed size only; leave dynamic out and give the "
            "size that pictures will have"
        )


@contextmanager
def _evaluating(model: Segmentor) -> Iterator[None]:
    """Evaluation mode on the CPU, without gradients; all is put back.

    Attention lays its result out otherwise where its bias asks for gradients, and the file has to do for one layout.
    """
    device, training = model.device, [(module, module.training) for module in model.modules()]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().to("cpu").requires_grad_(False)
    try:
        yield
    finally:
        model.to(device)
        for module, mode in training:
            module.training = mode
        for parameter in learned:
            parameter.requires_grad = True


def _sizes(size: tuple[int, int], dynamic: bool) -> list[tuple[int, int]]:
    """Where the file is compared with the model: the traced size, and one with odd sides that are turned round."""
    height, width = size
    return [size, (width * 9 // 8 | 1, height * 11 // 8 | 1)] if dynamic else [size]


@torch.no_grad()
def _trace(model: Segmentor, x: Tensor, dynamic: bool) -> torch.export.ExportedProgram:
    model(x)  # an unsuitable size is refused in the network's own words
    anything = torch.export.Dim.DYNAMIC
    shapes = {"x": {2: anything, 3: anything}} if dynamic else None
    try:
        with _quiet(), ExactPooling():
            return torch.export.export(model, (x,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises many kinds, each with a report of pages
        raise ExportError(
            f"{model.entry.name} cannot be exported at {_text(x.shape[2:])}: {_first_line(error)}"
        ) from error


def _metadata(model: Segmentor, size: tuple[int, int], dynamic: bool) -> dict[str, Any]:
    entry = model.entry
    return {
        "name": entry.name,
        "method": entry.method,
        "paper": entry.paper.url,
        "dataset": entry.dataset,
        "input": _INPUT,
        "output": _OUTPUT,
        "mean": entry.protocol.mean,
        "std": entry.protocol.std,
        "classes": model.classes,
        "palette": model.palette,
        "protocol": dataclasses.asdict(entry.protocol),
        "size": size,
        "dynamic": dynamic,
        "segzoo": __version__,
        "torch": torch.__version__,
    }


def _write_program(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"segzoo.json": json.dumps(metadata)})


def _write_onnx(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, Any]) -> None:
    try:
        with _quiet():
            made = torch.onnx.export(
                program, input_names=["input"], output_names=["logits"], dynamo=True, verbose=False
            )
    except ImportError as error:
        raise ExportError(f"ONNX needs more packages: pip install 'segzoo[export]' ({error})") from None
    except Exception as error:
        raise ExportError(f"{metadata['name']} cannot be written as ONNX: {_first_line(error)}") from error
    assert made is not None
    _name_sides(made.model.graph)
    made.model.producer_name = "segzoo"
    made.model.metadata_props.update({f"segzoo.{key}": _plain(value) for key, value in metadata.items()})
    made.save(str(path))


_WRITERS = {"onnx": _write_onnx, "torch_export": _write_program}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _name_sides(graph: Any) -> None:
    """Open sides are called after what they are, not after the exporter's counters."""
    names: dict[str, str] = {}
    for value in (*graph.inputs, *graph.outputs):
        for axis, name in ((2, "height"), (3, "width")):
            side = value.shape[axis]
            if not isinstance(side, int):
                names.setdefault(str(side), name)
                value.shape[axis] = names[str(side)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporters warn and log of what does not concern who asked for a file."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _text(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:300]}"
