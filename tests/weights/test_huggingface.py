"""hf:// addresses and saved models, with the real huggingface_hub client against a hub on the loopback."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segzoo.build import Labels, build, labels_of
from segzoo.errors import CheckpointError, OptionError
from segzoo.index import Weights, find
from segzoo.segmentor import Segmentor
from segzoo.weights import load_into, open_pretrained, read, save_pretrained
from segzoo.weights.card import model_card
from segzoo.weights.entry_json import entry_from_json, entry_to_json
from tests.weights.hub_server import HubServer
from tests.weights.server import Fault

ROOT = Path(__file__).parents[2]
NAME = "fast_scnn_cityscapes"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


HEAD = """
import json, os
from segzoo import weights
from segzoo.errors import SegzooError

def failure(work):
    try:
        return str(work())
    except SegzooError as error:
        return f'{type(error).__name__}: {error}'

"""


def run(code: str, hub: HubServer, **variables: str) -> Any:
    """Run ``code`` in a new process whose hub is ``hub``; returns what it leaves in ``result``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        **variables,
    }
    process = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{code}\nprint('RESULT', json.dumps(result))"],
        env=environment, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.split("RESULT", 1)[1])


@pytest.mark.loopback
def test_files_come_through_the_hub(hub: HubServer) -> None:
    old, new = os.urandom(200_000), os.urandom(200_000)
    first = hub.commit("org/net", {"net.pth": old, "small.json": b"{}"})
    hub.commit("org/net", {"net.pth": new})
    hub.gated.add("org/gated")
    hub.faults = [Fault("truncate", after=50_000)]
    result = run(
        f"""
import hashlib
def digest(path): return hashlib.sha256(open(path, 'rb').read()).hexdigest()
result = {{
    'main': digest(weights.fetch_address('hf://org/net/net.pth')),
    'again': digest(weights.fetch_address('hf://org/net/net.pth')),
    'old': digest(weights.fetch_address('hf://org/net/net.pth@{first}')),
    'small': open(weights.fetch_address('hf://org/net/small.json')).read(),
    'file': failure(lambda: weights.fetch_address('hf://org/net/none.pth')),
    'revision': failure(lambda: weights.fetch_address('hf://org/net/net.pth@v9')),
    'repository': failure(lambda: weights.fetch_address('hf://org/none/net.pth')),
    'gated': failure(lambda: weights.fetch_address('hf://org/gated/net.pth')),
    'no file': failure(lambda: weights.fetch_address('hf://org/net')),
}}""",
        hub,
        HF_TOKEN="hf_secret",
    )
    assert result["main"] == result["again"] == hashlib.sha256(new).hexdigest()
    assert result["old"] == hashlib.sha256(old).hexdigest()
    assert result["small"] == "{}"
    assert "there is no none.pth at revision main" in result["file"]
    assert "there is no revision v9" in result["revision"]
    assert "no such repository, or it is private" in result["repository"]
    assert "is gated" in result["gated"]
    assert "names a repository; name a file in it" in result["no file"]
    assert [r for r in hub.requests if "/resolve/" in r[1] and r[2] != "Bearer hf_secret"] == []
    bodies = [path for method, path, _ in hub.requests if method == "GET" and path.endswith("net.pth")]
    newest = HubServer.name("org/net", 1)
    assert bodies == [f"/org/net/resolve/{newest}/net.pth"] * 2 + [f"/org/net/resolve/{first}/net.pth"]


@pytest.mark.loopback
def test_wrong_bytes_from_the_hub_are_refused(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own hash is checked even where the caller knows none."""
    from tests.weights import hub_server

    hub.commit("org/net", {"net.pth": b"right" * 1000})
    answer = hub_server._Handler._answer

    def corrupt(self: Any, status: int, body: bytes = b"", **headers: str) -> None:
        answer(self, status, body.replace(b"right", b"wrong") if self.command == "GET" else body, **headers)

    monkeypatch.setattr(hub_server._Handler, "_answer", corrupt)
    result = run("result = failure(lambda: weights.fetch_address('hf://org/net/net.pth'))", hub)
    assert hashlib.sha256(b"wrong" * 1000).hexdigest() in result
    assert hashlib.sha256(b"right" * 1000).hexdigest() in result
    assert list(Path(os.environ["SEGZOO_CACHE"]).glob("*.pth")) == []


@pytest.mark.loopback
def test_hub_that_is_down(hub: HubServer) -> None:
    hub.url = "http://127.0.0.1:9"
    result = run("result = failure(lambda: weights.fetch_address('hf://org/net/net.pth'))", hub)
    assert "the Hub does not answer" in result


# saved models


def model(auxiliary: bool = False, num_classes: int | None = None) -> Segmentor:
    torch.manual_seed(0)
    entry = find(NAME)
    labels = labels_of(entry, num_classes or entry.num_classes)
    return build(entry, model_class=Segmentor, auxiliary=auxiliary, labels=labels).eval()


def rebuild(saved: Any) -> Segmentor:
    labels = Labels(saved.classes, saved.palette)
    built = build(saved.entry, model_class=Segmentor, labels=labels, auxiliary=saved.auxiliary, device="meta")
    load_into(built, read(saved.weights).tensors, source=str(saved.weights))
    return built.eval()


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_saved_and_loaded_without_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auxiliary: bool, num_classes: int | None
) -> None:
    original = model(auxiliary, num_classes)
    directory = save_pretrained(original, tmp_path / "net")
    assert sorted(p.name for p in directory.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    monkeypatch.setattr("segzoo.index.index_directory", lambda: pytest.fail("the index was read"))
    saved = open_pretrained(directory)
    assert saved.entry == original.entry
    assert (saved.classes, saved.palette) == (original.classes, original.palette)
    assert saved.auxiliary == auxiliary
    x = torch.rand(1, 3, 64, 64)
    monkeypatch.undo()
    with torch.no_grad():
        assert torch.equal(rebuild(saved)(x), original(x))


def test_every_entry_survives_json() -> None:
    from segzoo.index import default_index

    entries = default_index().entries.values()
    assert len(entries) > 100
    for entry in entries:
        back = entry_from_json(json.loads(json.dumps(entry_to_json(entry))), "x")
        assert back == entry
        assert dataclasses.replace(back, architecture=entry.architecture) == entry


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_pretrained(model(), tmp_path / name) for name in ("a", "b"))
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


BROKEN = {
    "no json": (lambda c: "{", "cannot be read"),
    "foreign": (lambda c: json.dumps({"model_type": "bert"}), "was not written by segzoo"),
    "newer": (lambda c: json.dumps({**c, "format": 2}), "format 2; update segzoo"),
    "no classes": (lambda c: json.dumps({**c, "classes": None}), "lacks 'classes'"),
    "colours": (lambda c: json.dumps({**c, "palette": [[1, 2]]}), "a name and a colour"),
    "unknown field": (
        lambda c: json.dumps({**c, "entry": {**c["entry"], "shiny": 1}}),
        "a field 'shiny' that this version of segzoo does not know",
    ),
    "wrong type": (lambda c: json.dumps({**c, "entry": {**c["entry"], "num_classes": "19"}}), r"entry\.num_classes"),
    "lacks": (
        lambda c: json.dumps({**c, "entry": {k: v for k, v in c["entry"].items() if k != "protocol"}}),
        "lacks the field 'protocol'",
    ),
}


@pytest.mark.parametrize(("change", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_config(tmp_path: Path, change: Any, reason: str) -> None:
    directory = save_pretrained(model(), tmp_path)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(change(config))
    with pytest.raises(CheckpointError, match=reason):
        open_pretrained(directory)


def test_weights_of_another_config(tmp_path: Path) -> None:
    directory = save_pretrained(model(), tmp_path)
    config = json.loads((directory / "config.json").read_text())
    with (directory / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(Exception, match=config["sha256"]):
        open_pretrained(directory)


def test_addresses_that_are_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="names a file; a saved model is a repository, hf://org/net"):
        open_pretrained("hf://org/net/model.safetensors")
    with pytest.raises(OptionError, match="is a directory or an hf:// repository"):
        open_pretrained("https://example.org/net")
    with pytest.raises(OptionError, match="is not hf://organisation/repository"):
        open_pretrained("hf://net")
    with pytest.raises(Exception, match=r"config\.json does not exist"):
        open_pretrained(tmp_path)


@pytest.mark.loopback
def test_pushed_and_loaded(hub: HubServer, tmp_path: Path) -> None:
    hub.closed.add("org/closed")
    result = run(
        f"""
import torch
from segzoo.build import Labels, build, labels_of
from segzoo.index import find
from segzoo.segmentor import Segmentor
torch.manual_seed(0)
model = build(find({NAME!r}), model_class=Segmentor).eval()
address = weights.push_to_hub(model, 'org/street', message='first')
saved = weights.open_pretrained('hf://org/street')
tensors = weights.read(saved.weights).tensors
os.environ['SEGZOO_OFFLINE'] = '1'
assert weights.open_pretrained('hf://org/street') == saved, 'the cache alone must do'
refused = [failure(lambda: weights.push_to_hub(model, name)) for name in ('street', 'org/closed')]
result = [*refused, address, saved.entry.name, all(torch.equal(tensors[k], v) for k, v in model.state_dict().items())]
""",
        hub,
        HF_TOKEN="hf_secret",
    )
    no_slash, closed, *result = result
    assert "is not hf://organisation/repository" in no_slash
    assert closed.startswith("WeightsError: org/closed could not be uploaded: ")
    assert "You may not create it" in closed
    assert result[0] == f"{hub.url}/org/street/commit/{HubServer.name('org/street', 0)}"
    assert result[1:] == [find(NAME).name, True]
    files = hub.commits["org/street"][0]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert b'segzoo.load("hf://org/street")' in files["README.md"]


# the card


def test_card_says_what_it_is_and_where_its_figures_come_from() -> None:
    entry = find("fastfcn_r50_jpu_psp_cityscapes")
    card = model_card(entry, classes=entry.classes, repository="org/net", licence=None)
    head, body = card.split("---\n", 2)[1:]
    assert "license: apache-2.0" in head
    assert "library_name: segzoo" in head
    assert entry.paper.url in body
    assert f"| mIoU | {entry.reported.metrics['mIoU']:g} % |" in body
    assert entry.weights.addresses[0] in body
    assert str(entry.reported.log) in body
    assert "not measured again here" in body
    assert 'segzoo.load("hf://org/net")' in body
    assert ", ".join(entry.classes) in body


def test_card_of_weights_without_a_known_licence() -> None:
    entry = dataclasses.replace(find(NAME), weights=Weights(("https://example.org/net.pth",)))
    card = model_card(entry, classes=["a", "b"], repository=None, licence=None)
    assert "license: other" in card
    assert "names no licence" in card
    assert 'segzoo.load("DIRECTORY")' in card
    assert "license: mit" in model_card(entry, classes=["a"], repository=None, licence="mit")


def test_anything_with_an_entry_and_classes_can_be_saved(tmp_path: Path) -> None:
    class Plain(nn.Module):
        entry = find(NAME)
        classes = ("x",)
        palette = ((1, 2, 3),)

    assert save_pretrained(Plain(), tmp_path / "deep" / "er").is_dir()
