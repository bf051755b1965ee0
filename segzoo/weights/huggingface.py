"""Saved models: a directory, or a Hub repository, with ``config.json``, ``model.safetensors`` and a model card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from segzoo.errors import CheckpointError, OptionError, WeightsError
from segzoo.index import Entry
from segzoo.weights.card import model_card
from segzoo.weights.conversion import write_safetensors
from segzoo.weights.entry_json import entry_from_json, entry_to_json
from segzoo.weights.fetching import fetch_address
from segzoo.weights.sources import HubFile, local_path

__all__ = ["Pretrained", "Savable", "open_pretrained", "push_to_hub", "save_pretrained"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
_FORMAT = 1


class Savable(Protocol):
    """What is asked of a model that is saved: a Segmentor."""

    entry: Entry
    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Pretrained:
    """A saved model, not yet built: its entry, names and colours of its classes, whether it holds auxiliary heads."""

    entry: Entry
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    auxiliary: bool
    weights: Path


def save_pretrained(
    model: Savable, directory: str | Path, *, repository: str | None = None, licence: str | None = None
) -> Path:
    """Write a model so that :func:`open_pretrained` (and ``segzoo.load``) can read it, without the index.

    Args:
        model: a Segmentor.
        directory: made if need be; ``config.json``, ``model.safetensors`` and ``README.md`` in it are replaced.
        repository: the Hub's ``organisation/name``, for the card.
        licence: the Hub's identifier for the card; by default that of the published weights.

    Returns:
        The directory.

    Raises:
        OSError: it cannot be written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = model.state_dict()
    metadata = {"format": "pt", "entry": model.entry.name, "classes": json.dumps(list(model.classes))}
    sha256 = write_safetensors(directory / WEIGHTS, tensors, metadata)
    config = {
        "library_name": "segzoo",
        "format": _FORMAT,
        "classes": list(model.classes),
        "palette": [list(colour) for colour in model.palette],
        "auxiliary": any(name.startswith("auxiliary_head.") for name in tensors),
        "sha256": sha256,
        "entry": entry_to_json(model.entry),
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    card = model_card(model.entry, classes=model.classes, repository=repository, licence=licence)
    (directory / CARD).write_text(card, encoding="utf-8")
    return directory


def push_to_hub(
    model: Savable,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    licence: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a model to the Hugging Face Hub; the repository is made if need be.

    Args:
        model: a Segmentor.
        repo_id: ``organisation/name``.
        private: makes a new repository private.
        revision: the branch (default: ``main``).
        message: the commit's message.
        licence: the Hub's identifier for the card; by default that of the published weights.
        token: default: ``HF_TOKEN``, or that of ``hf auth login``.

    Returns:
        The commit's address.

    Raises:
        WeightsError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    HubFile.parse(f"hf://{repo_id}")
    api = HfApi(token=token, library_name="segzoo")
    with tempfile.TemporaryDirectory(prefix="segzoo-") as folder:
        save_pretrained(model, folder, repository=repo_id, licence=licence)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=message or f"Upload {model.entry.name} with segzoo",
            )
        except Exception as error:  # the client's HTTP library differs by version, and so do its errors
            raise WeightsError(f"{repo_id} could not be uploaded: {str(error).strip()}") from error
    return str(commit.commit_url)


def open_pretrained(address: str | Path, *, progress: bool = True) -> Pretrained:
    """Fetch what :func:`save_pretrained` wrote.

    Args:
        address: a directory, or ``hf://organisation/name`` with ``@revision`` as needed.
        progress: shows a bar on a terminal.

    Raises:
        DownloadError, OfflineError, HashMismatchError: the files cannot be had, or the weights are not the config's.
        CheckpointError: the config is not segzoo's.
        OptionError: the address is of another kind.
    """
    text = str(address)
    directory = local_path(text)
    if directory is not None:
        locations = (str(directory / CONFIG), str(directory / WEIGHTS))
    elif text.startswith("hf://"):
        hub = HubFile.parse(text)
        if hub.path:
            raise OptionError(f"{text!r} names a file; a saved model is a repository, hf://{hub.repository}")
        root = f"hf://{hub.repository}"
        locations = (f"{root}/{CONFIG}@{hub.revision}", f"{root}/{WEIGHTS}@{hub.revision}")
    else:
        raise OptionError(f"{text!r}: a saved model is a directory or an hf:// repository")
    config = _read_config(fetch_address(locations[0], progress=False), text)
    # The config holds the weights' hash, so that the two are never of different commits.
    weights = fetch_address(locations[1], sha256=config["sha256"], progress=progress)
    return Pretrained(
        entry=entry_from_json(config["entry"], text),
        classes=tuple(config["classes"]),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in config["palette"]),
        auxiliary=config["auxiliary"],
        weights=weights,
    )


def _read_config(path: Path, source: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source}: its {CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("library_name") != "segzoo":
        raise CheckpointError(f"{source}: its {CONFIG} was not written by segzoo, so the network is not known")
    if config.get("format") != _FORMAT:
        raise CheckpointError(f"{source}: its {CONFIG} has format {config.get('format')!r}; update segzoo")
    kinds = {"classes": list, "palette": list, "auxiliary": bool, "sha256": str, "entry": dict}
    for name, kind in kinds.items():
        if not isinstance(config.get(name), kind):
            raise CheckpointError(f"{source}: its {CONFIG} lacks {name!r}")
    colours = config["palette"]
    if not all(isinstance(colour, list) and len(colour) == 3 for colour in colours) or (
        len(colours) != len(config["classes"]) or not all(isinstance(name, str) for name in config["classes"])
    ):
        raise CheckpointError(f"{source}: its {CONFIG} must give each class a name and a colour of three numbers")
    return config
