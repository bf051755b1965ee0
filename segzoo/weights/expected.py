"""What is known of a file before it is fetched, and the judgement on what came."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from segzoo.errors import HashMismatchError, OptionError

__all__ = ["ACCEPT_VARIABLE", "Expected"]

ACCEPT_VARIABLE = "SEGZOO_ACCEPT_SHA256"
_LONGEST_STEM = 60


@dataclass(frozen=True)
class Expected:
    """A file's published name and as much of its hash as is known.

    ``sha256`` is the full hash; ``prefix`` its first digits as a published file name gives them, a hint that is
    believed on first use only; ``size`` is in bytes. ``identity`` names the claim where no hash is known: the address.
    ``pinned`` is the full hash that was recorded at the first use of a file with no more than a prefix.
    """

    filename: str
    sha256: str | None = None
    prefix: str | None = None
    size: int | None = None
    identity: str = ""
    pinned: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise OptionError(f"sha256={self.sha256!r} must be 64 lower-case hexadecimal digits")

    @property
    def stem(self) -> str:
        """The readable part of a cached file's name, short and free of characters that a file system refuses."""
        name = PurePosixPath(self.filename).name
        stem = name.removesuffix(self.suffix) if name.endswith(self.suffix) else name
        return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:_LONGEST_STEM].strip("_") or "weights"

    @property
    def suffix(self) -> str:
        """``.safetensors``, ``.pth`` or another short suffix of the published name; ``.pth`` where it has none."""
        suffix = PurePosixPath(self.filename).suffix
        return suffix if re.fullmatch(r"\.[A-Za-z][A-Za-z0-9]{0,11}", suffix) else ".pth"

    @property
    def key(self) -> str:
        """What locks, part files and pins are named by: the hash as far as it is known, else the address's hash."""
        known = self.sha256 or self.prefix
        return f"{self.stem}.{known or 'from-' + hashlib.sha256(self.identity.encode()).hexdigest()[:16]}"

    @property
    def full(self) -> str | None:
        """The full hash: the given one, or the one recorded at first use."""
        return self.sha256 or self.pinned

    @property
    def known(self) -> bool:
        """Whether a part of the hash is known, so that a wrong file can be told from the right one."""
        return bool(self.full or self.prefix)

    def fits(self, sha256: str) -> bool:
        """Whether a file with that hash is the one: equal to the full hash, or the prefix, or accepted by the user."""
        if self.sha256 is not None:
            return sha256 == self.sha256
        if self.pinned is not None:
            return sha256 == self.pinned or sha256 in accepted_hashes()
        return self.prefix is None or sha256.startswith(self.prefix) or sha256 in accepted_hashes()

    def requirement(self) -> str:
        """The hash that a file placed by hand must have, as the end of a sentence."""
        if self.full:
            return f"be {self.full}"
        return f"begin with {self.prefix}" if self.prefix else "be one you trust (none is known)"

    def mismatch(self, name: str, found: str, details: str = "") -> HashMismatchError:
        """The error for a file whose hash is ``found``, with both values and what a user can do; ``details`` follow."""
        if self.sha256:
            wanted = f"sha256 {self.sha256}"
            way_out = "The file is refused. A copy that you trust loads by its path: weights='FILE.pth'."
        else:
            wanted = f"a sha256 that begins with {self.prefix}, the digits in the published name"
            way_out = "Published digits are wrong for some files. "
            if self.pinned:
                wanted = f"sha256 {self.pinned}, recorded when the file was first used"
                way_out = "The address now gives another file. "
            way_out += f"To accept exactly this one, set the environment variable\n  {ACCEPT_VARIABLE}={found}"
        return HashMismatchError(f"{name}: expected {wanted};\n  found sha256 {found}.\n{way_out}{details}")


def accepted_hashes() -> frozenset[str]:
    """Full hashes that the user accepts in spite of the published prefix: ``SEGZOO_ACCEPT_SHA256``, comma-separated.

    Raises:
        OptionError: one of them is not 64 hexadecimal digits, so that a prefix can never be accepted.
    """
    values = [value.lower() for value in re.split(r"[,\s]+", os.environ.get(ACCEPT_VARIABLE, "")) if value]
    for value in values:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise OptionError(
                f"{ACCEPT_VARIABLE} holds {value!r}; it takes full sha256 values of 64 digits, comma-separated"
            )
    return frozenset(values)
