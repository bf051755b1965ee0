"""Addresses: where a file may lie, and in which order to ask."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from segzoo.errors import OptionError

__all__ = [
    "HubFile",
    "candidates",
    "file_name",
    "hub_file",
    "local_path",
    "mirrors",
    "offline",
    "published_path",
    "shown",
]

_TRUE = {"1", "true", "yes", "on"}
_ASSETS = Path(__file__).resolve().parents[1] / "assets"


def offline() -> bool:
    """Whether the user forbade the network: ``SEGZOO_OFFLINE`` or ``HF_HUB_OFFLINE`` is 1, true, yes or on."""
    return any(os.environ.get(name, "").strip().lower() in _TRUE for name in ("SEGZOO_OFFLINE", "HF_HUB_OFFLINE"))


@dataclass(frozen=True)
class HubFile:
    """``hf://organisation/repository/path/in/it@revision``; the revision defaults to ``main``."""

    repository: str
    path: str
    revision: str

    @classmethod
    def parse(cls, address: str) -> HubFile:
        """Take an ``hf://`` address apart.

        Raises:
            OptionError: it names no repository.
        """
        match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:/([^@]*))?(?:@(.+))?", address)
        if match is None:
            raise OptionError(f"{address!r} is not hf://organisation/repository, with /path and @revision as needed")
        return cls(match[1], (match[2] or "").strip("/"), match[3] or "main")


def hub_file(address: str) -> HubFile | None:
    """The parts of an ``hf://`` address; None for any other."""
    return HubFile.parse(address) if address.startswith("hf://") else None


def local_path(address: str) -> Path | None:
    """The path that a plain path, ``file://`` or ``asset:`` (a file inside the package) address means, else None.

    Raises:
        OptionError: the scheme is one that segzoo does not read.
    """
    if address.startswith("asset:"):
        return _ASSETS / address.removeprefix("asset:")
    if address.startswith("file://"):
        return Path(
            url2pathname(unquote(urlsplit(address).path)) if os.name == "nt" else unquote(urlsplit(address).path)
        )
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", address)
    if scheme is None:
        return Path(address).expanduser()
    if scheme[1].lower() not in ("http", "https", "hf"):
        raise OptionError(f"{address!r}: {scheme[1]}:// is not read; use https://, hf://, file:// or a path")
    return None


def mirrors() -> tuple[str, ...]:
    """Prefixes of ``SEGZOO_MIRROR``, tried before all else: addresses or directories, between commas or white space."""
    return tuple(prefix for prefix in re.split(r"[,\s]+", os.environ.get("SEGZOO_MIRROR", "")) if prefix)


def shown(address: str) -> str:
    """An address as messages and records show it: without a user's name and password."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/@]*@", r"\1", address)


def file_name(address: str) -> str:
    """The last part of an address's path, which names the file; empty where there is none."""
    hub = hub_file(address)
    path = hub.path if hub is not None else published_path(address)
    return PurePosixPath(path).name if path is not None else Path(address.removeprefix("asset:")).name


def published_path(address: str) -> str | None:
    """The path under which a mirror holds the file of a published address; None where the address is local."""
    hub = hub_file(address)
    if hub is not None:
        return f"{hub.repository}/{hub.path}"
    if address.lower().startswith(("http://", "https://")):
        return unquote(urlsplit(address).path).lstrip("/")
    return None


def candidates(addresses: Sequence[str]) -> Iterator[str]:
    """Every address to try, once each: the mirrors' copies first, then the addresses in order.

    What lies inside the package comes before the mirrors, which cannot have it.
    """
    seen: set[str] = set()
    mirrored = [
        f"{prefix.rstrip('/')}/{path}" for prefix in mirrors() for path in map(published_path, addresses) if path
    ]
    for address in (*mirrored, *addresses):
        if address not in seen:
            seen.add(address)
            yield address
