"""A fault server, a file to fetch, and little patience."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from segzoo.index import Weights
from segzoo.weights.transport import Patience
from tests.weights.server import FaultServer

SIZE = 300_000


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _little_patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; a read time-out that a busy machine keeps, but where the test's name says that something stalls."""
    read_timeout = 0.4 if "stall" in request.node.name else 5.0
    patience = Patience(connect_timeout=5, read_timeout=read_timeout, attempts=4, unreachable_attempts=2, backoff=0.005)
    monkeypatch.setattr(Patience, "from_environment", classmethod(lambda cls: patience))


class Target:
    """A file of random bytes: its content, its hash, and an index entry's view of it."""

    def __init__(self, content: bytes, path: str = "/zoo/v0.5/net/net_20200101") -> None:
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.path = f"{path}-{self.sha256[:8]}.pth"

    def weights(self, *addresses: str, full: bool = False, size: bool = False) -> Weights:
        return Weights(
            addresses,
            sha256=self.sha256 if full else None,
            sha256_prefix=self.sha256[:8],
            size=len(self.content) if size else None,
        )


@pytest.fixture
def target() -> Target:
    return Target(random.Random(5).randbytes(SIZE))
