"""Traffic signs: what is on the plates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segzoo.datasets.streets.canvas import Board, Pixel, Point
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled
from segzoo.datasets.streets.shadows import turn

__all__ = ["FRONT", "KINDS", "draw_plate"]

FRONT: Point = (0.0, 0.2, -0.9)  # the normal of what faces the camera
KINDS = ("limit", "give way", "stop", "parking", "direction", "turn", "warning")
RED: RGB = (0.78, 0.12, 0.12)
BLUE: RGB = (0.10, 0.30, 0.66)
GREEN: RGB = (0.08, 0.45, 0.28)
WHITE: RGB = (0.94, 0.94, 0.92)
BLACK: RGB = (0.10, 0.10, 0.10)


@dataclass(frozen=True)
class Plate:
    """A plate on a board, drawn on in units of `size` metres from its middle."""

    board: Board
    light: Light
    height: float
    size: float

    def shape(self, points: Sequence[Pixel], albedo: RGB, label: Label | None = None) -> None:
        """Fill a polygon."""
        colour = self.light.lit(scaled(albedo, 1.06), FRONT, self.board.z)
        self.board.shape([(x * self.size, self.height + y * self.size) for x, y in points], colour, label)

    def box(self, x: Pixel, y: Pixel, albedo: RGB, label: Label | None = None) -> None:
        """Fill the rectangle between two columns and two rows."""
        self.shape([(x[0], y[0]), (x[0], y[1]), (x[1], y[1]), (x[1], y[0])], albedo, label)

    def disc(self, middle: Pixel, radius: float, albedo: RGB, label: Label | None = None) -> None:
        """Fill a disc."""
        self.shape(
            [(middle[0] + radius * math.sin(a), middle[1] + radius * math.cos(a)) for a in turn(28)], albedo, label
        )

    def stroke(self, start: Pixel, end: Pixel, half: float, albedo: RGB) -> None:
        """Draw a thick line."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        nx, ny = -dy * half / math.hypot(dx, dy), dx * half / math.hypot(dx, dy)
        (x0, y0), (x1, y1) = start, end
        self.shape([(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)], albedo)


def draw_plate(board: Board, light: Light, dice: Dice, kind: str, height: float, size: float) -> None:
    """A sign of one of `KINDS`, its middle `height` metres up the board, `size` metres from middle to rim."""
    plate = Plate(board, light, height, size)
    if kind == "limit":
        limit(plate)
    elif kind == "stop":
        stop(plate)
    elif kind == "parking":
        parking(plate)
    elif kind == "turn":
        arrow(plate)
    elif kind == "direction":
        places(plate, dice)
    else:
        triangle(plate, pointing_down=kind == "give way")


def limit(plate: Plate) -> None:
    """A speed limit."""
    plate.disc((0, 0), 1.0, RED, Label.TRAFFIC_SIGN)
    plate.disc((0, 0), 0.74, WHITE)
    for x in (-0.26, 0.24):
        plate.stroke((x, -0.36), (x, 0.36), 0.12, BLACK)


def stop(plate: Plate) -> None:
    """An octagon with four letters."""
    for radius, albedo, label in ((1.04, WHITE, Label.TRAFFIC_SIGN), (0.92, RED, None)):
        corners = [(radius * math.cos(a + math.pi / 8), radius * math.sin(a + math.pi / 8)) for a in turn(8)]
        plate.shape(corners, albedo, label)
    for k in range(4):
        x = -0.54 + 0.36 * k
        plate.box((x - 0.1, x + 0.1), (-0.2, 0.2), WHITE)


def triangle(plate: Plate, *, pointing_down: bool) -> None:
    """Give way, or a warning with a mark in it."""
    flip = -1 if pointing_down else 1
    for radius, albedo, label in ((1.12, RED, Label.TRAFFIC_SIGN), (0.72, WHITE, None)):
        plate.shape([(radius * math.sin(a), flip * radius * math.cos(a)) for a in turn(3)], albedo, label)
    if not pointing_down:
        plate.stroke((0, -0.05), (0, 0.36), 0.08, BLACK)
        plate.disc((0, -0.2), 0.08, BLACK)


def parking(plate: Plate) -> None:
    """A white P on blue."""
    plate.box((-0.9, 0.9), (-0.9, 0.9), WHITE, Label.TRAFFIC_SIGN)
    plate.box((-0.82, 0.82), (-0.82, 0.82), BLUE)
    plate.stroke((-0.3, -0.6), (-0.3, 0.6), 0.12, WHITE)
    plate.disc((0.02, 0.24), 0.36, WHITE)
    plate.disc((0.02, 0.24), 0.15, BLUE)


def arrow(plate: Plate) -> None:
    """A white arrow on a blue disc."""
    plate.disc((0, 0), 1.0, WHITE, Label.TRAFFIC_SIGN)
    plate.disc((0, 0), 0.92, BLUE)
    plate.stroke((0, -0.6), (0, 0.2), 0.12, WHITE)
    plate.shape([(-0.38, 0.15), (0, 0.66), (0.38, 0.15)], WHITE)


def places(plate: Plate, dice: Dice) -> None:
    """A wide board with place names, too far away to read."""
    ground = dice.pick((BLUE, GREEN, WHITE))
    ink = BLACK if ground is WHITE else WHITE
    plate.box((-2.0, 2.0), (-1.05, 1.05), ink, Label.TRAFFIC_SIGN)
    plate.box((-1.92, 1.92), (-0.97, 0.97), ground)
    for row in (0.45, -0.1, -0.62):
        plate.box((-1.6, 2.0 * dice.between(-0.1, 0.75)), (row * 1.05, (row + 0.26) * 1.05), ink)
