"""From a name or an address to a verified local file."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segzoo.errors import DownloadError, HashMismatchError, OfflineError, WeightsError
from segzoo.index import Weights
from segzoo.weights import sources, transport
from segzoo.weights.expected import Expected
from segzoo.weights.hashing import file_sha256
from segzoo.weights.lock import Lock
from segzoo.weights.part import Part, is_orphan, parts_of, remove
from segzoo.weights.progress import Bar
from segzoo.weights.store import Store, torch_home
from segzoo.weights.transport import AddressError, Patience
from segzoo.weights.units import human_size

__all__ = ["Got", "fetch", "fetch_address", "receive"]

_LOG = logging.getLogger(__name__)
_COPY_CHUNK = 1 << 20
# A holder that neither finishes nor adds a byte for so long (stopped, or on a host that is gone) is not waited for:
# longer than any pause a living one makes.
_HOLDER_SILENCE_S = 300.0


def fetch(weights: Weights, *, name: str, progress: bool = True) -> Path:
    """The verified local file of an index entry.

    A cached file is returned at once and without any network. Otherwise the mirrors of ``SEGZOO_MIRROR``, then the
    entry's own addresses are tried in order; the file is checked while it streams, and published atomically.

    Args:
        weights: addresses and what is known of the hash.
        name: what messages call it.
        progress: shows a bar on a terminal.

    Returns:
        The file; its safetensors form, where it has been used before.

    Raises:
        DownloadError: no address gave it; the message lists each with its reason, and where to put the file by hand.
        OfflineError: it is not cached, and the network is forbidden (``SEGZOO_OFFLINE``).
        HashMismatchError: an address gave a file with another hash, and none gave the right one.
    """
    expected = Expected(
        weights.filename, weights.sha256, weights.sha256_prefix, weights.size, identity=weights.addresses[0]
    )
    for address in weights.addresses:
        if address.startswith("asset:"):
            return _local(address, expected, name)
    return _Fetch(expected, tuple(sources.candidates(weights.addresses)), name, progress).run()


def fetch_address(address: str, *, sha256: str | None = None, progress: bool = True) -> Path:
    """The verified local file behind a user's ``https://``, ``hf://``, ``file://`` address or plain path.

    Local files are used where they lie; others go through the cache, where they stay under the hash they
    had at first: an address whose content changes goes on giving the cached file until that is pruned.

    Args:
        address: where it is.
        sha256: 64 hexadecimal digits, if it is to be checked.
        progress: shows a bar on a terminal.

    Raises:
        DownloadError, OfflineError, HashMismatchError: as :func:`fetch`.
        OptionError: the address is of a kind that is not read, or ``sha256`` is not a full hash.
    """
    expected = Expected(sources.file_name(address), sha256, identity=address)
    if sources.local_path(address) is not None:
        return _local(address, expected, address)
    return _Fetch(expected, tuple(sources.candidates([address])), sources.shown(address), progress).run()


def _local(address: str, expected: Expected, name: str) -> Path:
    """A local file where it lies, after its hash has been checked if one is known."""
    path = sources.local_path(address)
    if path is None or not path.is_file():
        what = "is a directory" if path is not None and path.is_dir() else "does not exist"
        raise DownloadError(f"{name}: the weight file {path} {what}")
    if expected.known:
        found = file_sha256(path)
        if not expected.fits(found):
            raise expected.mismatch(f"{name} ({path})", found)
    return path


@dataclass
class Got:
    """A file that came in, complete and of the right hash, not yet in its place."""

    file: Path
    sha256: str
    size: int
    address: str


@dataclass
class _Fetch:
    """One request for one file; the fields are what all its steps need."""

    expected: Expected
    addresses: tuple[str, ...]
    name: str
    progress: bool
    store: Store = field(default_factory=Store)
    patience: Patience = field(default_factory=lambda: Patience.from_environment())

    def run(self) -> Path:
        if cached := self.store.find(self.expected):
            return cached
        self.expected = replace(self.expected, pinned=self.store.pinned(self.expected))
        try:
            self.store.prepare()
            with Lock(self.store.directory / f"{self.expected.key}.lock", _Waiting(self).give_up) as lock:
                # Whoever held the lock may have fetched it.
                return self.store.find(self.expected) or self._on_this_machine() or self._fetch(resume=lock.held)
        except OSError as error:
            if isinstance(error, WeightsError):
                raise
            raise self._disk_error(error) from error

    def _on_this_machine(self) -> Path | None:
        """A file placed by hand, or PyTorch's own download, if its hash is known and fits."""
        by_hand = self.store.by_hand(self.expected)
        for path in (by_hand, torch_home() / "hub" / "checkpoints" / self.expected.filename):
            if self.expected.known and path.is_file() and (adopted := self._adopt(path)):
                if path == by_hand:
                    path.unlink(missing_ok=True)
                return adopted
        return None

    def _adopt(self, path: Path) -> Path | None:
        """Publish a file of this machine if its hash fits: as a hard link where possible, else as a copy."""
        if linked := self.store.link(path, self.expected.key):
            try:
                sha256 = file_sha256(linked)
                if self.expected.fits(sha256):
                    return self.store.publish(linked, self.expected, sha256, name=self.name, address=str(path))
            finally:
                linked.unlink(missing_ok=True)
            return None
        part = Part(self.store.directory, self.expected.key, resume=False)
        try:
            _copy(path, part, Bar(self.name, shown=False))
            if self.expected.fits(sha256 := part.sha256()):
                return self.store.publish(part.finish(), self.expected, sha256, name=self.name, address=str(path))
        except AddressError as error:
            _LOG.info("%s is not used: %s", path, error)
        finally:
            part.discard()
        return None

    def _fetch(self, *, resume: bool) -> Path:
        got = receive(
            self.addresses,
            self.expected,
            self.store.directory,
            name=self.name,
            resume=resume,
            progress=self.progress,
            patience=self.patience,
            by_hand=self.store.by_hand(self.expected),
        )
        if self.expected.prefix and not self.expected.full and not got.sha256.startswith(self.expected.prefix):
            _LOG.warning(
                "%s: accepted sha256 %s in place of the published %s", self.name, got.sha256, self.expected.prefix
            )
        path = self.store.publish(
            got.file, self.expected, got.sha256, name=self.name, address=sources.shown(got.address)
        )
        if resume:
            for part in filter(is_orphan, parts_of(self.store.directory, self.expected.key)):
                remove(part)
        return path

    def _disk_error(self, error: OSError) -> DownloadError:
        where = self.store.directory
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return DownloadError(
                f"{self.name} is not in the cache {where}, and the cache cannot be written ({error.strerror}). "
                "Name a writable directory in SEGZOO_CACHE, or download there once with the rights to write."
            )
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = human_size(shutil.disk_usage(where).free)
            size = f"{human_size(self.expected.size)} are needed, " if self.expected.size else ""
            return DownloadError(
                f"{self.name}: the disk of {where} is full ({size}{free} are free). Make room "
                "(`segzoo cache list`, `segzoo cache prune`) or name another directory in SEGZOO_CACHE."
            )
        return DownloadError(f"{self.name}: the cache {where} cannot be used: {error}")


class _Waiting:
    """Says when to stop waiting for another process: the lock's holder has been silent for too long."""

    def __init__(self, request: _Fetch) -> None:
        self._request = request
        self._told = False
        self._seen: object = None
        self._since = self._checked = time.monotonic()

    def give_up(self) -> bool:
        now = time.monotonic()
        if now - self._checked < 0.5:
            return False
        self._checked = now
        store, key = self._request.store, self._request.expected.key
        if not self._told:
            self._told = True
            _LOG.info("%s: another process downloads it; waiting", self._request.name)
        state: list[tuple[str, int]] = []
        for part in parts_of(store.directory, key):
            with contextlib.suppress(OSError):
                state.append((part.name, part.stat().st_size))
        if state != self._seen:
            self._seen, self._since = state, now
        if now - self._since > _HOLDER_SILENCE_S:
            _LOG.warning(
                "%s: the process that holds %s has not moved for %.0f s; downloading without it",
                self._request.name,
                store.directory / f"{key}.lock",
                now - self._since,
            )
            return True
        return False


def receive(
    addresses: Sequence[str],
    expected: Expected,
    directory: Path,
    *,
    name: str,
    by_hand: Path,
    resume: bool,
    progress: bool,
    patience: Patience,
) -> Got:
    """Try the addresses in order until one gives the right file, written into ``directory`` under a name of its own.

    Args:
        by_hand: the path that the final message names for a file from elsewhere.
        resume: goes on from what an earlier, failed writer left; only under the key's lock.

    Raises:
        DownloadError, OfflineError, HashMismatchError: none did.
        OSError: the disk refuses.
    """
    reasons: list[tuple[str, str]] = []
    wrong: tuple[Expected, str] | None = None
    part = Part(directory, expected.key, resume=resume)
    bar = Bar(name, shown=progress)
    keep = False
    try:
        for address in addresses:
            try:
                for fresh in (False, True):
                    resumed = part.size > 0
                    expected_here = _bring(address, part, expected, bar, patience)
                    found = part.sha256()
                    if expected_here.fits(found):
                        keep = True
                        return Got(part.finish(), found, part.size, address)
                    part.restart()
                    if fresh or not resumed:
                        wrong = (expected_here, found)
                        raise AddressError(f"a file of another sha256: {found}")
            except AddressError as failure:
                reasons.append((sources.shown(address), str(failure)))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    part.restart()  # a full disk is of no use to anybody
                raise
    finally:
        bar.close()
        if not keep:
            part.give_up()
    raise _failure(name, expected, reasons, wrong, by_hand)


def _bring(address: str, part: Part, expected: Expected, bar: Bar, patience: Patience) -> Expected:
    """Fill ``part`` from one address; returns what is known of the file then, since a hub can tell its hash."""
    path = sources.local_path(address)
    if path is not None:
        part.restart()
        _copy(path, part, bar)
        return expected
    if sources.offline():
        raise AddressError("not asked")
    with transport.session() as http:
        hub = sources.hub_file(address)
        if hub is None:
            remote = transport.Remote(address)
        else:
            from segzoo.weights.hub_source import resolve

            remote, told = resolve(hub, patience)
            if not expected.known and told is not None:
                expected = replace(expected, sha256=told)
        transport.download(http, remote, part, expected, bar, patience)
    return expected


def _copy(path: Path, part: Part, bar: Bar) -> None:
    if not path.is_file():
        raise AddressError("no such file")
    try:
        with path.open("rb") as file:
            bar.begin(0, path.stat().st_size)
            while chunk := file.read(_COPY_CHUNK):
                part.write(chunk)
                bar.advance(len(chunk))
    except PermissionError as error:
        raise AddressError(f"cannot be read: {error.strerror}") from error


def _failure(
    name: str, expected: Expected, reasons: list[tuple[str, str]], wrong: tuple[Expected, str] | None, by_hand: Path
) -> DownloadError | HashMismatchError:
    """The error at the end: every address with its reason, and what a person can do."""
    listed = "".join(f"\n  {address}\n    {reason}" for address, reason in reasons)
    place = (
        f"\nTo place the file by hand, save it as\n  {by_hand}\nIts sha256 must {expected.requirement()}."
        if expected.known
        else "\nA file that you have loads by its path: weights='FILE.pth'."
    )
    if wrong is not None:
        wanted, found = wrong
        return wanted.mismatch(name, found, f"\nAddresses tried:{listed}{place}")
    count = "the one address" if len(reasons) == 1 else f"any of {len(reasons)} addresses"
    if sources.offline():
        return OfflineError(
            f"{name} is not in the cache, and the network is off (SEGZOO_OFFLINE or HF_HUB_OFFLINE):{listed}{place}"
        )
    return DownloadError(f"{name}: could not be fetched from {count}:{listed}{place}")
