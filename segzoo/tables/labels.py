"""Where labels of points go, so that none lies upon another, on a point or on a line that leads to one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "Label", "place_labels"]

Place = tuple[float, float]

_GAP = 9  # between a point and its label
_SWEEPS = 3
_FORBIDDEN, _UNWANTED, _TOLERATED = 100.0, 2.5, 0.7  # cost of a square pixel: labels and their points; lines; dots


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture, y pointing down."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Area in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    def inside(self, other: Box) -> bool:
        """Whether no part of this lies outside of ``other``."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """Where a label stands, and the end of the line that leads there from its point; None where it needs none."""

    box: Box
    end: Place | None
    cost: float = 0.0  # of where it stands and what it lies upon, that cannot move


_Choice = tuple[Label, list[Box]]  # with the marks of the line that leads there


def place_labels(
    points: Sequence[tuple[Place, float]],
    height: float,
    frame: Box,
    *,
    dots: Sequence[Place] = (),
    lines: Sequence[tuple[Place, Place]] = (),
) -> list[Label]:
    """A label for each point, given as its place and its label's width; ``dots`` and ``lines`` are better left free.

    Every label first takes the best place that the ones before it leave; then each may move to a better one.
    """
    own = [_around(place, 6) for place, _ in points]
    drawn = [mark for start, end in lines for mark in _along(start, end)]
    spots = [_around(place, 3) for place in dots]
    choices = []
    for (x, y), width in points:
        found = []
        for label in _candidates(x, y, width, height, frame):
            marks = _along((x, y), label.end) if label.end else []
            cost = label.cost + _UNWANTED * _area(label.box, drawn) + _TOLERATED * _area(label.box, spots)
            cost += _FORBIDDEN * _area(label.box, own) + sum(_UNWANTED * _area(box, marks[2:]) for box in own)
            found.append((Label(label.box, label.end, cost), marks))
        choices.append(sorted(found, key=lambda choice: choice[0].cost))
    chosen: list[_Choice | None] = [None] * len(points)
    for _ in range(_SWEEPS):
        for number, found in enumerate(choices):
            others = [other for place, other in enumerate(chosen) if other and place != number]
            chosen[number] = _best(found, others)
    return [choice[0] for choice in chosen if choice]


def _best(choices: Sequence[_Choice], others: Sequence[_Choice]) -> _Choice:
    """The choice that costs least beside ``others``; ``choices`` are sorted by what they cost alone."""
    best, least = choices[0], math.inf
    for choice in choices:
        if choice[0].cost >= least:
            break
        cost = choice[0].cost + _conflict(choice, others)
        if cost < least:
            best, least = choice, cost
    return best


def _conflict(choice: _Choice, others: Sequence[_Choice]) -> float:
    label, marks = choice
    cost = 0.0
    for other, line in others:
        cost += _FORBIDDEN * _grown(label.box, 4).overlap(other.box)
        cost += 5 * _UNWANTED * (_area(label.box, line) + _area(other.box, marks))
    return cost


def _candidates(x: float, y: float, width: float, height: float, frame: Box) -> Iterator[Label]:
    """Places around a point, the nearer the cheaper; one in the middle of the frame where none else is inside."""
    inside = False
    for distance in (0, 14, 28, 42, 58, 76, 96):
        for side in range(16):
            across, up = math.cos(side * math.pi / 8), math.sin(side * math.pi / 8)
            middle = (x + across * (width / 2 + _GAP + distance), y - up * (height / 2 + _GAP - 2 + distance))
            box = Box(middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2)
            if not box.inside(frame):
                continue
            inside = True
            end = (min(max(x, box.left), box.right), box.bottom if box.bottom < y else box.top)
            yield Label(box, end if distance else None, distance * 2.5 + abs(across * up) * 4)
    if not inside:
        left, top = (frame.left + frame.right - width) / 2, (frame.top + frame.bottom - height) / 2
        yield Label(Box(left, top, left + width, top + height), (left, top))


def _grown(box: Box, margin: float) -> Box:
    return Box(box.left - margin, box.top, box.right + margin, box.bottom)


def _area(box: Box, marks: Sequence[Box]) -> float:
    return sum(box.overlap(mark) for mark in marks)


def _around(place: Place, radius: float) -> Box:
    return Box(place[0] - radius, place[1] - radius, place[0] + radius, place[1] + radius)


def _along(start: Place, end: Place) -> list[Box]:
    """A line as a row of small squares."""
    count = max(1, round(math.dist(start, end) / 7))
    steps = (number / count for number in range(count + 1))
    return [_around((start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t), 2) for t in steps]
