"""The embedded model's file is a run's, without what only training uses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.embed import ENTRY, embed
from segzoo.errors import OptionError


def test_auxiliary_heads_are_left_out(tmp_path: Path) -> None:
    tensors = {"decode_head.weight": torch.ones(2, 3).half(), "auxiliary_head.0.weight": torch.zeros(4)}
    save_file(tensors, tmp_path / "run.safetensors", metadata={"entry": ENTRY, "iteration": "7"})
    sha256, size = embed(tmp_path / "run.safetensors", tmp_path / "asset.safetensors")
    content = (tmp_path / "asset.safetensors").read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, size)
    with safe_open(tmp_path / "asset.safetensors", "pt") as file:
        assert list(file.keys()) == ["decode_head.weight"]
        assert file.metadata()["iteration"] == "7"
        assert torch.equal(file.get_tensor("decode_head.weight"), tensors["decode_head.weight"])


def test_a_file_of_another_entry_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "run.safetensors", metadata={"entry": "other"})
    with pytest.raises(OptionError, match="is of other, not of"):
        embed(tmp_path / "run.safetensors", tmp_path / "asset.safetensors")
    assert not (tmp_path / "asset.safetensors").exists()
