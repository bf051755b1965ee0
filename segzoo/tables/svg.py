"""Plots as SVG text: points with a Pareto front, and bars. The same figures give the same text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from segzoo.tables.labels import Box, place_labels

__all__ = ["Axis", "Bar", "Point", "bars", "pareto", "scatter"]

_FONT = "DejaVu Sans, Verdana, Geneva, sans-serif"
_INK, _FAINT, _GRID, _OTHER, _FRONT, _MEASURED = "#1f2933", "#5f6c7b", "#e4e8ec", "#8fa3b8", "#c8374b", "#1b7f5c"
_SIZE = 11  # of labels, in pixels
_CHARACTER = 0.61  # mean width of a character in heights, on the wide side
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 26, 74, 58


@dataclass(frozen=True)
class Point:
    """A model: where it stands, what it is called, and whether its figures were measured here."""

    x: float
    y: float
    label: str
    measured: bool = False


@dataclass(frozen=True)
class Axis:
    """What an axis shows. ``more_is_better`` decides the front; ``log`` spaces equal ratios equally."""

    title: str
    more_is_better: bool = True
    log: bool = False


@dataclass(frozen=True)
class Bar:
    """A named share in percent, None where there is no figure, in a colour (red, green, blue)."""

    label: str
    value: float | None
    colour: tuple[int, int, int]


def pareto(points: Sequence[Point], x: Axis) -> list[Point]:
    """The points than which no other is better in both directions, by rising ``x``; more y is better."""
    best, front = -math.inf, []
    for point in sorted(points, key=lambda point: (-point.x if x.more_is_better else point.x, -point.y, point.label)):
        if point.y > best:
            best = point.y
            front.append(point)
    return sorted(front, key=lambda point: point.x)


def scatter(
    points: Sequence[Point], x: Axis, y: Axis, *, title: str, note: str, width: int = 820, height: int = 500
) -> str:
    """Points on named axes; a line joins the Pareto front of the published ones, labelled as measured ones are."""
    frame = Box(_LEFT, _TOP, width - _RIGHT, height - _BOTTOM)
    body = _titles(title, note)
    if not points:
        middle = ((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2)
        body.append(_text(*middle, "no figures in the logs yet", colour=_FAINT, anchor="middle"))
        return _document(body, width, height)
    across, x_ticks = _scale([point.x for point in points], frame.left, frame.right, log=x.log)
    up, y_ticks = _scale([point.y for point in points], frame.bottom, frame.top, log=y.log)
    body += _axes(frame, x, y, [(across(v), v) for v in x_ticks], [(up(v), v) for v in y_ticks])
    front = pareto([point for point in points if not point.measured], x)
    places = {id(point): (across(point.x), up(point.y)) for point in points}
    ordered = sorted(points, key=lambda point: (point.x, point.y, point.label))
    on_front = {id(point) for point in front}
    for point in ordered:
        if id(point) not in on_front and not point.measured:
            body.append(_dot(*places[id(point)], 3.4, _OTHER, point, opacity=0.75))
    named = [*front, *(point for point in ordered if point.measured)]
    stair = _stair([places[id(point)] for point in front], x.more_is_better)
    if stair:
        body.append(_path(stair))
    for point in named:
        body.append(_dot(*places[id(point)], 4.6, _MEASURED if point.measured else _FRONT, point))
    others = [places[id(point)] for point in ordered if id(point) not in on_front and not point.measured]
    wanted = [(places[id(point)], len(point.label) * _CHARACTER * _SIZE) for point in named]
    labels = place_labels(wanted, _SIZE + 3, frame, dots=others, lines=list(itertools.pairwise(stair)))
    for point, label in zip(named, labels, strict=True):
        if label.end:
            body.append(_line(*places[id(point)], *label.end, _FAINT, width=0.6))
    for point, label in zip(named, labels, strict=True):
        body.append(_text(label.box.left, label.box.bottom - 3.5, point.label, halo=True))
    body += _legend(width, any(point.measured for point in points))
    return _document(body, width, height)


def bars(items: Sequence[Bar], *, title: str, note: str, mean: float | None, width: int = 820) -> str:
    """Horizontal bars of percentages, the longest first, with a line at their mean."""
    row, left, right = 24, 130, 70
    ordered = sorted(items, key=lambda bar: -math.inf if bar.value is None else bar.value, reverse=True)
    bottom = _TOP + row * len(ordered)
    height = bottom + _BOTTOM
    scale = (width - left - right) / 100
    body = _titles(title, note)
    for tick in range(0, 101, 20):
        place = left + tick * scale
        body.append(_line(place, _TOP - 4, place, bottom, _GRID))
        body.append(_text(place, bottom + 18, str(tick), colour=_FAINT, anchor="middle"))
    body.append(_text(left + 50 * scale, bottom + 42, "IoU (%)", anchor="middle", size=12))
    values = []
    for number, bar in enumerate(ordered):
        top = _TOP + row * number + 3
        body.append(_text(left - 10, top + 13, bar.label, anchor="end"))
        if bar.value is None:
            body.append(_text(left + 6, top + 13, "in no picture", colour=_FAINT))
            continue
        colour = "#{:02x}{:02x}{:02x}".format(*bar.colour)
        body.append(
            f'<rect x="{left}" y="{top}" width="{bar.value * scale:.1f}" height="{row - 6}" fill="{colour}" '
            f'stroke="{_FAINT}" stroke-width="0.6"/>'
        )
        values.append(_text(left + bar.value * scale + 7, top + 13, f"{bar.value:.1f}", halo=True))
    if mean is not None:
        place = left + mean * scale
        body.append(_line(place, _TOP - 4, place, bottom, _INK, dashes="4 3"))
        body.append(_text(place, _TOP - 9, f"mean {mean:.1f}", anchor="middle"))
    return _document([*body, *values], width, height)


# scales


def _scale(
    values: Sequence[float], start: float, end: float, *, log: bool
) -> tuple[Callable[[float], float], list[float]]:
    """(position of a value, ticks): the values fill the length but for a margin."""
    least, most = min(values), max(values)
    if log:
        low, high = math.log10(least), math.log10(most)
    else:
        low, high = least, most
    margin = 0.06 * (high - low) or (0.1 if log else 1.0)
    low, high = low - margin, high + (margin if log else 2 * margin)  # above the best, labels need room

    def place(value: float) -> float:
        number = math.log10(value) if log else value
        return start + (number - low) / (high - low) * (end - start)

    if log:
        ticks = [v for v in _decades(math.floor(low), math.ceil(high)) if low <= math.log10(v) <= high]
    else:
        step = _step((high - low) / 6)
        ticks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return place, ticks


def _decades(first: int, last: int) -> Iterator[float]:
    for exponent in range(first, last + 1):
        for factor in (1, 2, 5):
            yield factor * 10.0**exponent


def _step(about: float) -> float:
    """The round number next above."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about)


# marks


def _document(body: Sequence[str], width: int, height: int) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{_FONT}">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *body, "</svg>"]) + "\n"


def _titles(title: str, note: str) -> list[str]:
    return [
        _text(18, 26, title, size=15, weight="bold"),
        _text(18, 46, note, colour=_FAINT, size=12),
    ]


def _axes(
    frame: Box, x: Axis, y: Axis, x_ticks: Sequence[tuple[float, float]], y_ticks: Sequence[tuple[float, float]]
) -> list[str]:
    out = []
    for place, value in x_ticks:
        out.append(_line(place, frame.top, place, frame.bottom, _GRID))
        out.append(_text(place, frame.bottom + 18, f"{value:g}", colour=_FAINT, anchor="middle"))
    for place, value in y_ticks:
        out.append(_line(frame.left, place, frame.right, place, _GRID))
        out.append(_text(frame.left - 9, place + 4, f"{value:g}", colour=_FAINT, anchor="end"))
    out.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, _FAINT))
    out.append(_line(frame.left, frame.top, frame.left, frame.bottom, _FAINT))
    out.append(_text((frame.left + frame.right) / 2, frame.bottom + 42, x.title, anchor="middle", size=12))
    middle = (frame.top + frame.bottom) / 2
    out.append(
        f'<text transform="translate(20 {middle:.1f}) rotate(-90)" text-anchor="middle" font-size="12" '
        f'fill="{_INK}">{escape(y.title)}</text>'
    )
    return out


def _legend(width: int, measured: bool) -> list[str]:
    entries = [(_FRONT, "Pareto front"), (_OTHER, "other models")]
    if measured:
        entries.append((_MEASURED, "measured here"))
    out, x = [], float(width - _RIGHT)
    for colour, label in reversed(entries):
        x -= len(label) * _CHARACTER * _SIZE
        out.append(_text(x, 66, label, colour=_FAINT))
        x -= 10
        out.append(f'<circle cx="{x:.1f}" cy="62" r="4" fill="{colour}"/>')
        x -= 16
    return out


def _stair(places: Sequence[tuple[float, float]], falls: bool) -> list[tuple[float, float]]:
    """The corners of a stair through the front: what is reached at each x."""
    corners = list(places[:1])
    for x, y in places[1:]:
        before = corners[-1]
        corners += [(before[0], y) if falls else (x, before[1]), (x, y)]
    return corners


def _path(corners: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(corners))
    return f'<path d="{path}" fill="none" stroke="{_FRONT}" stroke-width="1.2" stroke-opacity="0.55"/>'


def _dot(x: float, y: float, radius: float, colour: str, point: Point, *, opacity: float = 1.0) -> str:
    about = escape(f"{point.label}: {point.x:.4g}, {point.y:.2f}")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}" '
        f'stroke="#ffffff" stroke-width="0.6"><title>{about}</title></circle>'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dashes: str | None = None
) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dashed}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = _INK,
    anchor: str = "start",
    size: int = _SIZE,
    weight: str = "normal",
    halo: bool = False,
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    drawn = f'<text {place}{bold} fill="{colour}">{escape(text)}</text>'
    if not halo:
        return drawn
    # Not by paint-order, which some viewers do not know: they would paint the halo over the letters.
    behind = 'fill="#ffffff" stroke="#ffffff" stroke-width="3" stroke-linejoin="round" stroke-opacity="0.85"'
    return f"<text {place}{bold} {behind}>{escape(text)}</text>\n{drawn}"
