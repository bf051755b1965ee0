"""The model card (README.md) of a saved model: what it is, figures with their origin, licence, how to load it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from segzoo.errors import UnknownNameError
from segzoo.index import Entry, dataset

__all__ = ["licence_of", "model_card"]

_APACHE_HOSTS = ("download.openmmlab.com",)


def licence_of(entry: Entry) -> str | None:
    """``apache-2.0`` for weights that OpenMMLab published under that licence; None where the index cannot tell."""
    hosts = {urlsplit(address).hostname for address in entry.weights.addresses}
    return "apache-2.0" if hosts & set(_APACHE_HOSTS) else None


def model_card(entry: Entry, *, classes: Sequence[str], repository: str | None, licence: str | None) -> str:
    """The card's Markdown.

    Args:
        entry: what the model was built from.
        classes: its classes' names.
        repository: ``organisation/name`` on the Hub; None writes how to load it from a directory.
        licence: the Hub's identifier (``apache-2.0``); by default that of the published weights.
    """
    licence = licence or licence_of(entry)
    where = f"hf://{repository}" if repository else "DIRECTORY"
    parts = [
        _front_matter(entry, licence),
        f"# {entry.name}\n\n{entry.method} with {entry.backbone} for semantic segmentation, {len(classes)} classes "
        f"({_dataset_title(entry)}), from the paper [{entry.paper.title}]({entry.paper.url}).",
        "## Use\n\n```\npip install segzoo\n```\n\n```python\nimport segzoo\n\n"
        f'model = segzoo.load("{where}")\nmodel.predict("picture.jpg").save("mask.png")\n```',
        _figures(entry),
        _protocol(entry),
        f"## Classes\n\n{', '.join(classes)}",
        _licence(entry, licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(entry: Entry, licence: str | None) -> str:
    tags = ["semantic-segmentation", entry.method.lower(), entry.dataset]
    lines = ["---", "library_name: segzoo", "pipeline_tag: image-segmentation"]
    lines += [f"license: {licence or 'other'}", "tags:", *(f"- {tag}" for tag in dict.fromkeys(tags)), "---"]
    return "\n".join(lines)


def _dataset_title(entry: Entry) -> str:
    try:
        return dataset(entry.dataset).title
    except UnknownNameError:
        return entry.dataset


def _figures(entry: Entry) -> str:
    rows = [(name, f"{value:g} %") for name, value in entry.reported.metrics.items()]
    if entry.reported.inference is not None:
        speed = entry.reported.inference
        size = f"{speed.resolution[0]}x{speed.resolution[1]}"
        rows.append((f"speed on one {speed.hardware}, {speed.precision}, {size}, batch 1", f"{speed.fps:.2f} images/s"))
    if entry.reported.train_memory_gb is not None:
        rows.append(("memory in training", f"{entry.reported.train_memory_gb:g} GB"))
    if not rows:
        return ""
    origin = f" ([log]({entry.reported.log}))" if entry.reported.log else ""
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"## Figures\n\nAs published with [{entry.weights.filename}]({entry.weights.addresses[0]}){origin}; "
        "not measured again here, and not of these weights if they have been trained further.\n\n"
        f"| figure | published |\n|---|---|\n{table}"
    )


def _protocol(entry: Entry) -> str:
    protocol = entry.protocol
    size = (
        "its own size" if protocol.scale is None else f"at most {max(protocol.scale)} by {min(protocol.scale)} pixels"
    )
    windows = ""
    if protocol.crop_size is not None and protocol.stride is not None:
        crop, stride = protocol.crop_size, protocol.stride
        windows = f", in windows of {crop[0]}x{crop[1]} every {stride[0]}x{stride[1]} pixels"
    return (
        f"## How it is tested\n\nPictures are resized to {size}, normalised by mean {list(protocol.mean)} and "
        f"deviation {list(protocol.std)} (RGB, 0 to 255), and predicted {protocol.mode}{windows}. "
        "`model.predict` does all this."
    )


def _licence(entry: Entry, licence: str | None) -> str:
    if licence_of(entry) is not None:
        text = f"The published weights come from OpenMMLab's model zoo ({licence_of(entry)})."
    else:
        text = "The index names no licence for the weights that this model began with."
    return f"## Licence\n\n{text} The terms of the data set it was trained on ({_dataset_title(entry)}) apply as well."
