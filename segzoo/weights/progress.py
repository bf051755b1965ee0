"""One progress bar per file, on a terminal only."""

from __future__ import annotations

from typing import Any

__all__ = ["Bar"]


class Bar:
    """Bytes so far of a file, shown with tqdm on stderr; nothing is shown where stderr is no terminal.

    Args:
        title: what is downloaded.
        shown: False never shows it.
    """

    def __init__(self, title: str, *, shown: bool = True) -> None:
        self._title, self._shown = title, shown
        self._bar: Any = None

    def begin(self, done: int, total: int | None) -> None:
        """Show ``done`` of ``total`` bytes (None: unknown); called again, the same bar moves there."""
        if not self._shown:
            return
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                desc=_short(self._title), total=total, initial=done, unit="B", unit_scale=True, disable=None
            )
            return
        self._bar.total = total
        self._bar.n = done
        self._bar.set_postfix_str("")

    def advance(self, count: int) -> None:
        """``count`` bytes more."""
        if self._bar is not None:
            self._bar.update(count)

    def say(self, text: str) -> None:
        """A few words at the bar's right end: what it waits for."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _short(title: str, width: int = 32) -> str:
    return title if len(title) <= width else f"{title[: width - 13]}...{title[-10:]}"
