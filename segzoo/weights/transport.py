"""HTTP: one address, as many attempts as make sense, resumed where the last one broke off."""

from __future__ import annotations

import email.utils
import http.client
import itertools
import math
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3

from segzoo.errors import OptionError
from segzoo.weights.expected import Expected
from segzoo.weights.part import Part, Validator
from segzoo.weights.progress import Bar

__all__ = ["AddressError", "Patience", "Remote", "download", "session"]

_CHUNK = 1 << 18
_SLOWEST = 1024  # bytes a second, over the read time-out
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_PROGRESS = 1 << 20
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|\?xml|html|head|body|error)", re.IGNORECASE)


class AddressError(Exception):
    """An address did not give the file; the text says why in a few words."""


class _TransientError(Exception):
    """An attempt failed in a way that another may not; ``after``: seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float | None = None, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.unreachable = unreachable


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    ``read_timeout``: without a byte, or under 1 KiB/s on average. ``attempts``: in a row without progress (a mebibyte
    more than ever before); ``unreachable_attempts``: the same, where there was no connection at all. The pauses
    double from ``backoff`` to ``longest_pause``, each shortened by chance to as little as half. A server that asks
    for more than ``longest_retry_after`` is left.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    attempts: int = 5
    unreachable_attempts: int = 3
    backoff: float = 0.5
    longest_pause: float = 20.0
    longest_retry_after: float = 120.0
    most_attempts: int = 100

    @classmethod
    def from_environment(cls) -> Patience:
        """The defaults, with ``SEGZOO_TIMEOUT`` seconds for the read time-out where it is set.

        Raises:
            OptionError: it is not a positive number.
        """
        text = os.environ.get("SEGZOO_TIMEOUT", "")
        if not text:
            return cls()
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < math.inf:
            raise OptionError(f"SEGZOO_TIMEOUT={text!r} must be a positive number of seconds")
        return cls(connect_timeout=min(seconds, cls.connect_timeout), read_timeout=seconds)

    def pauses(self) -> Iterator[float]:
        """The pause after each failure in a row."""
        pause = self.backoff
        while True:
            yield random.uniform(0.5, 1.0) * min(pause, self.longest_pause)
            pause *= 2


@dataclass(frozen=True)
class Remote:
    """An address to ask, with headers (a token, say) that are for its own host only."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def session() -> requests.Session:
    """A session that says who asks and follows ten redirects; proxies and certificates come from the environment."""
    from segzoo import __version__

    made = requests.Session()
    made.max_redirects = 10
    made.headers.update({"User-Agent": f"segzoo/{__version__} (requests {requests.__version__})"})
    return made


def download(
    http: requests.Session, remote: Remote, part: Part, expected: Expected, bar: Bar, patience: Patience
) -> None:
    """Bring ``part`` to the whole file, as far as lengths tell; the caller judges the hash.

    Raises:
        AddressError: the address does not give it; what came is kept in the part unless it was wrong.
        OSError: the disk refuses; or the user interrupts.
    """
    transfer = _Transfer(http, remote, part, expected, bar, patience)
    failures, high_water = 0, part.size
    pauses = patience.pauses()
    for count in range(1, patience.most_attempts + 1):
        try:
            transfer.attempt()
            return
        except _TransientError as failure:
            if transfer.complete_by_hash():
                return
            if part.size >= high_water + _PROGRESS:
                failures, high_water, pauses = 0, part.size, patience.pauses()
            failures += 1
            limit = patience.unreachable_attempts if failure.unreachable else patience.attempts
            if failures >= limit or count == patience.most_attempts:
                tries = "1 attempt" if count == 1 else f"{count} attempts"
                raise AddressError(f"{failure} ({tries})") from failure
            pause = next(pauses)
            if failure.after is not None:
                if failure.after > patience.longest_retry_after:
                    raise AddressError(f"{failure}, to be asked again after {failure.after:.0f} s") from failure
                pause = max(pause, failure.after)
            bar.say(f"{failure}; again in {pause:.0f} s")
            time.sleep(pause)


class _Transfer:
    """The state that attempts at one address share."""

    def __init__(
        self, http: requests.Session, remote: Remote, part: Part, expected: Expected, bar: Bar, patience: Patience
    ) -> None:
        self.http, self.remote, self.part, self.expected = http, remote, part, expected
        self.bar, self.patience = bar, patience
        self.ranges = True

    def complete_by_hash(self) -> bool:
        """Whether the bytes are all there in spite of what the server announced; only a known hash can say."""
        return self.part.size > 0 and self.expected.known and self.expected.fits(self.part.sha256())

    def attempt(self) -> None:
        """One request, and as much of its body as comes.

        Raises:
            _TransientError: worth another attempt.
            AddressError: not worth it.
        """
        if self.part.size and not self._may_resume():
            self.part.restart()
        headers = {**self.remote.headers, "Accept-Encoding": "identity"}
        if self.part.size:
            headers["Range"] = f"bytes={self.part.size}-"
            if self.part.validator.tag and self.part.validator.address == self.remote.url:
                headers["If-Range"] = self.part.validator.tag
        timeout = (self.patience.connect_timeout, self.patience.read_timeout)
        try:
            with self.http.get(self.remote.url, headers=headers, stream=True, timeout=timeout) as response:
                _refuse_downgrade(response)
                total = self._begin(response)
                if total is None or self.part.size < total:
                    self._stream(response, total)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            raise _judge(error, self.patience) from error
        except (ConnectionError, TimeoutError) as error:
            raise _TransientError(f"the connection broke off: {error.strerror or error}") from error

    def _may_resume(self) -> bool:
        """The rest may be asked for if the server can say that it is the same file, or the hash will tell."""
        validator = self.part.validator
        return self.ranges and (self.expected.known or bool(validator.tag and validator.address == self.remote.url))

    def _begin(self, response: requests.Response) -> int | None:
        """Judge status and headers; returns the length of the whole file, None where the server does not say."""
        status, asked = response.status_code, self.part.size
        if status == 416 and asked:
            return self._satisfied(response)
        if status == 206 and asked:
            total = self._continue(response)
        elif status == 200:
            if asked:  # the server knows no ranges, or the file has changed since
                self.part.restart()
            total = _length(response)
            if (
                total is None
                and not self.expected.known
                and "chunked" not in response.headers.get("Transfer-Encoding", "")
            ):
                raise AddressError(
                    "the server gives no length and the index no hash, so that a cut-off file would go unnoticed"
                )
        elif status in _TRANSIENT:
            raise _TransientError(f"HTTP {status} {response.reason}".strip(), _retry_after(response))
        else:
            raise AddressError(f"HTTP {status} {response.reason}".strip())
        if total == 0:
            raise _TransientError("an empty file")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise AddressError(f"the server sends it compressed ({response.headers['Content-Encoding']}), unasked")
        if total is not None and self.expected.size is not None and total != self.expected.size:
            raise _TransientError(f"the server announces {total} bytes where the index has {self.expected.size}")
        self.part.describe(Validator(self.remote.url, _tag(response), total))
        if total is not None:
            self.part.make_room(total)
        self.bar.begin(self.part.size, total)
        return total

    def _continue(self, response: requests.Response) -> int | None:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        total = int(match[3]) if match and match[3] != "*" else None
        validator = self.part.validator
        same_address = validator.address == self.remote.url
        changed = (total is not None and validator.total is not None and total != validator.total) or (
            same_address and bool(validator.tag) and _tag(response) not in ("", validator.tag)
        )
        if match is None or int(match[1]) != self.part.size or changed:
            self.part.restart()
            self.ranges = self.ranges and changed
            raise _TransientError(
                "the file changed meanwhile" if changed else "the server sent another range than asked for"
            )
        return total

    def _satisfied(self, response: requests.Response) -> int:
        """416: no such range. The part may be whole; otherwise it is of no use."""
        match = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", "").strip())
        if match and int(match[1]) == self.part.size and (not self.expected.known or self.complete_by_hash()):
            return self.part.size
        self.part.restart()
        raise _TransientError("HTTP 416 the server refuses to resume")

    def _stream(self, response: requests.Response, total: int | None) -> None:
        read = getattr(response.raw, "read1", response.raw.read)
        window_start, window_bytes = time.monotonic(), 0
        while chunk := read(_CHUNK):
            if not self.part.size:
                _refuse_page(chunk, response)
            if total is not None and self.part.size + len(chunk) > total:
                self.part.restart()
                raise _TransientError(f"more bytes came than the {total} announced")
            self.part.write(chunk)
            self.bar.advance(len(chunk))
            window_bytes += len(chunk)
            passed = time.monotonic() - window_start
            if passed > self.patience.read_timeout:
                if window_bytes < _SLOWEST * passed:
                    raise _TransientError(f"only {window_bytes} bytes came in {passed:.0f} s")
                window_start, window_bytes = time.monotonic(), 0
        if not self.part.size:
            raise _TransientError("an empty file")
        if total is not None and self.part.size < total:
            raise _TransientError(f"it ended after {self.part.size} of {total} bytes")


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"\d+", text) and "Transfer-Encoding" not in response.headers else None


def _tag(response: requests.Response) -> str:
    """The strong ETag, or else the date: what If-Range takes; empty where there is neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait; it may give a number or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _refuse_downgrade(response: requests.Response) -> None:
    hops = [*(hop.url for hop in response.history), response.url]
    for before, after in itertools.pairwise(hops):
        if before.lower().startswith("https://") and not after.lower().startswith("https://"):
            raise AddressError(f"it redirects from https to {after}, which anybody on the way can change")


def _refuse_page(chunk: bytes, response: requests.Response) -> None:
    """A log-in page, or a proxy's error page; a lone ``<`` may be the length that begins a safetensors file."""
    if _PAGE.match(chunk):
        kind = response.headers.get("Content-Type", "no type").split(";")[0]
        title = re.search(rb"<title[^>]*>\s*([^<]{1,80})", chunk[:8192], re.IGNORECASE)
        quoted = f", titled {title[1].decode('utf-8', 'replace').strip()!r}" if title else ""
        raise AddressError(f"the server sent a page ({kind}{quoted}) in place of the file")


def _judge(error: Exception, patience: Patience) -> Exception:
    """What an exception of the HTTP stack means: worth another attempt or not, in words."""
    text = _innermost(error)
    if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return AddressError(f"its TLS certificate is not valid: {_certificate_fault(text)}")
        return _TransientError(f"TLS failed: {text}")
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return AddressError("it redirects in a circle, or more than ten times")
    if isinstance(
        error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)
    ):
        return AddressError(f"not an address that can be asked: {error}")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _TransientError(f"no connection within {patience.connect_timeout:g} s", unreachable=True)
    if isinstance(error, (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError)) or "timed out" in text:
        return _TransientError(f"no byte for {patience.read_timeout:g} s")
    if isinstance(error, requests.exceptions.ProxyError):
        return _TransientError(f"the proxy does not connect: {text}", unreachable=True)
    never_connected = any(isinstance(link, urllib3.exceptions.NewConnectionError) for link in _chain(error))
    if never_connected:
        return _TransientError(f"cannot connect: {text}", unreachable=True)
    return _TransientError(f"the connection broke off: {text}")


def _chain(error: Any) -> Iterator[Any]:
    """An exception and what it wraps: requests and urllib3 put the cause into ``args`` or ``reason``."""
    seen: set[int] = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [value for value in (getattr(error, "reason", None), *error.args) if isinstance(value, BaseException)]
        error = inner[0] if inner else error.__cause__ or error.__context__


def _innermost(error: Exception) -> str:
    """The last cause's own words, without the names of Python objects."""
    last = list(_chain(error))[-1]
    text = getattr(last, "strerror", None) or str(last)
    return re.sub(r"^.*?object at 0x[0-9a-f]+>: ", "", text) or type(last).__name__


def _certificate_fault(text: str) -> str:
    match = re.search(r"CERTIFICATE_VERIFY_FAILED\]?\s*(?:certificate verify failed:)?\s*(.*?)\s*(?:\(_ssl|$)", text)
    return match[1] if match and match[1] else text
