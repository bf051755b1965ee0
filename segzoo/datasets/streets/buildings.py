"""Houses: façades in perspective with floors, windows, shops, cornices and roofs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from segzoo.datasets.streets.canvas import Canvas, Colour, Pixel, Point
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled, wobble

__all__ = ["House", "choose_house", "draw_house"]

PLASTER: tuple[RGB, ...] = (
    (0.74, 0.43, 0.33),
    (0.86, 0.67, 0.42),
    (0.90, 0.84, 0.72),
    (0.62, 0.70, 0.58),
    (0.54, 0.63, 0.72),
    (0.84, 0.64, 0.60),
    (0.58, 0.32, 0.26),
    (0.50, 0.54, 0.60),
    (0.90, 0.89, 0.86),
    (0.42, 0.56, 0.56),
    (0.80, 0.62, 0.27),
    (0.70, 0.52, 0.44),
    (0.66, 0.60, 0.68),
    (0.47, 0.44, 0.42),
)
TILES: tuple[RGB, ...] = ((0.56, 0.30, 0.22), (0.36, 0.33, 0.34), (0.46, 0.36, 0.30), (0.30, 0.36, 0.42))
AWNINGS: tuple[RGB, ...] = ((0.72, 0.20, 0.18), (0.20, 0.42, 0.34), (0.20, 0.33, 0.58), (0.82, 0.60, 0.22))
GLASS: RGB = (0.20, 0.25, 0.31)


@dataclass(frozen=True)
class House:
    """One house. `floor` is the height of a storey and `bay` the width of one window axis, in metres."""

    floors: int
    floor: float
    bay: float
    wall: RGB
    trim: RGB
    tiles: RGB
    shop: RGB | None
    pitched: bool
    tall_windows: bool
    balconies: bool
    lit_share: float

    @property
    def height(self) -> float:
        """Metres to the eaves."""
        return self.floors * self.floor + 0.5


def choose_house(dice: Dice, light: Light) -> House:
    """Design a house."""
    wall = wobble(dice.pick(PLASTER), dice, 0.05)
    pale = dice.chance(0.7)
    trim: RGB = (0.90, 0.88, 0.82) if pale else scaled(wall, 0.72)
    return House(
        floors=dice.pick((2, 2, 3, 3, 4, 4, 5, 6)),
        floor=dice.between(2.9, 3.5),
        bay=dice.between(2.2, 3.2),
        wall=wall,
        trim=wobble(trim, dice, 0.03),
        tiles=wobble(dice.pick(TILES), dice, 0.04),
        shop=dice.pick(AWNINGS) if dice.chance(0.45) else None,
        pitched=dice.chance(0.6),
        tall_windows=dice.chance(0.4),
        balconies=dice.chance(0.25),
        lit_share=dice.between(0.25, 0.6) if light.lamps else 0.0,
    )


@dataclass(frozen=True)
class Face:
    """An upright wall between two points of the ground, with its own coordinates: along and up, in metres."""

    canvas: Canvas
    light: Light
    start: Pixel  # (right, ahead)
    end: Pixel

    @functools.cached_property
    def length(self) -> float:
        """Metres from start to end."""
        return math.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1])

    @functools.cached_property
    def normal(self) -> Point:
        """The horizontal direction the wall looks to; the camera is on that side."""
        dx, dz = (self.end[0] - self.start[0]) / self.length, (self.end[1] - self.start[1]) / self.length
        nx, nz = -dz, dx
        if nx * self.start[0] + nz * self.start[1] > 0:
            nx, nz = -nx, -nz
        return nx, 0.0, nz

    def at(self, along: float, up: float, out: float = 0.0) -> Point:
        """A point of the wall, or `out` metres before it."""
        share = along / self.length
        nx, _, nz = self.normal if out else (0.0, 0.0, 0.0)
        x = self.start[0] + (self.end[0] - self.start[0]) * share + nx * out
        return x, up, self.start[1] + (self.end[1] - self.start[1]) * share + nz * out

    def box(self, span: Pixel, rise: Pixel, albedo: RGB, label: Label | None = None, out: float = 0.0) -> None:
        """Fill a rectangle of the wall; `span` along and `rise` up, in metres."""
        a, b = self.at(span[0], rise[0], out), self.at(span[0], rise[1], out)
        c, d = self.at(span[1], rise[1], out), self.at(span[1], rise[0], out)
        self.canvas.polygon((a, b, c, d), self.colour(albedo, (a[2] + d[2]) / 2), label)

    def colour(self, albedo: RGB, distance: float) -> Colour:
        """The albedo as this wall shows it."""
        return self.light.lit(albedo, self.normal, distance)


def draw_house(
    canvas: Canvas, light: Light, dice: Dice, house: House, front: tuple[Pixel, Pixel], depth: float
) -> None:
    """Draw a house whose street front runs between two points of the ground (right, ahead), near one first."""
    street = Face(canvas, light, front[0], front[1])
    nx, _, nz = street.normal
    near, far = front
    back_near = (near[0] - nx * depth, near[1] - nz * depth)
    if house.pitched:
        back_far = (far[0] - nx * depth, far[1] - nz * depth)
        roof(canvas, light, house, (near, far, back_near, back_far))
    gable = Face(canvas, light, near, back_near)
    if near[1] > 1.0:
        end_wall(gable, house, dice)
    facade(street, house, dice)


def roof(canvas: Canvas, light: Light, house: House, corners: tuple[Pixel, Pixel, Pixel, Pixel]) -> None:
    """A pitched roof with its ridge along the street."""
    near, far, back_near, back_far = corners
    rise, h = 0.42 * math.dist(near, back_near), house.height
    ridge = [((a[0] + b[0]) / 2, h + rise, (a[1] + b[1]) / 2) for a, b in ((near, back_near), (far, back_far))]
    slope = [(near[0], h, near[1]), ridge[0], ridge[1], (far[0], h, far[1])]
    middle = (near[1] + far[1]) / 2
    gable = [(near[0], h, near[1]), ridge[0], (back_near[0], h, back_near[1])]
    chimney(canvas, light, house, ridge, middle)
    canvas.polygon(slope, light.lit(house.tiles, (0.0, 0.8, -0.4), middle), Label.BUILDING)
    canvas.polygon(gable, light.lit(scaled(house.wall, 0.94), (0.0, 0.0, -1.0), near[1]), Label.BUILDING)


def chimney(canvas: Canvas, light: Light, house: House, ridge: list[Point], distance: float) -> None:
    """A chimney on the ridge."""
    share = 0.3
    x = ridge[0][0] + (ridge[1][0] - ridge[0][0]) * share
    z = ridge[0][2] + (ridge[1][2] - ridge[0][2]) * share
    if z < 2:
        return
    top, foot = ridge[0][1] + 1.1, ridge[0][1] - 1.2
    for width, albedo in ((0.55, scaled(house.tiles, 0.9)),):
        corners = [(x - width, foot, z), (x - width, top, z), (x + width, top, z), (x + width, foot, z)]
        canvas.polygon(corners, light.lit(albedo, (0, 0, -1), distance), Label.BUILDING)


def end_wall(face: Face, house: House, dice: Dice) -> None:
    """The side of a house, with few windows."""
    face.box((0, face.length), (0, house.height), scaled(house.wall, 0.96), Label.BUILDING)
    if not house.pitched:
        face.box((0, face.length), (house.height - 0.45, house.height + 0.15), house.trim, Label.BUILDING)
    if dice.chance(0.6):
        for k in range(1, house.floors):
            foot = k * house.floor + 0.9
            window(face, house, face.length * 0.35, foot, 1.0, dice)


def facade(face: Face, house: House, dice: Dice) -> None:
    """The street front."""
    length, top = face.length, house.height
    face.box((0, length), (0, top), house.wall, Label.BUILDING)
    face.box((0, length), (0, 0.55), scaled(house.wall, 0.72))
    for k in range(1, house.floors):
        face.box((0, length), (k * house.floor, k * house.floor + 0.14), house.trim)
    cornice = 0.15 if house.pitched else 0.45
    face.box((0, length), (top - 0.35, top + cornice), house.trim, Label.BUILDING, out=0.25)
    face.box((0, length), (top - 0.42, top - 0.35), scaled(house.wall, 0.6))
    axes = max(1, int(length / house.bay))
    step = length / axes
    first = 1 if house.shop is not None else 0
    width = step * (0.42 if house.tall_windows else 0.52)
    for k in range(first, house.floors):
        for i in range(axes):
            door = k == 0 and i == axes // 2
            along, foot = (i + 0.5) * step, k * house.floor + 0.85
            if door:
                entrance(face, house, along)
            else:
                window(face, house, along, foot, width, dice)
            if house.balconies and k > 0 and i % 2 == 1:
                balcony(face, house, along, k * house.floor, width)
    if house.shop is not None:
        shop(face, house, dice)


def window(face: Face, house: House, along: float, foot: float, width: float, dice: Dice) -> None:
    """One window: surround, reveal, glass with a reflection, glazing bars, a sill."""
    lit = dice.chance(house.lit_share)
    shade = dice.between(0.8, 1.25)
    distance = face.at(along, 0)[2]
    if distance > 110 or distance < -2:
        return
    tall = 1.75 if house.tall_windows else 1.4
    left, right, top = along - width / 2, along + width / 2, foot + tall
    if distance > 60:
        face.box((left, right), (foot, top), (0.95, 0.75, 0.45) if lit else GLASS)
        return
    face.box((left - 0.12, right + 0.12), (foot - 0.1, top + 0.14), house.trim)
    pane = (face.at(left, foot), face.at(left, top), face.at(right, top), face.at(right, foot))
    glass = scaled(GLASS, shade)
    if lit:
        warm = (1.0 * shade, 0.80 * shade, 0.48 * shade)
        face.canvas.polygon(pane, face.light.glowing(scaled(warm, 0.85), distance))
    else:
        sky = face.light.horizon
        upper = tuple(glass[i] * 0.65 + sky[i] * 0.3 for i in range(3))
        lower = tuple(glass[i] * 0.85 + sky[i] * 0.1 for i in range(3))
        face.canvas.polygon(pane, face.light.glowing((lower[0], lower[1], lower[2]), distance))
        middle = foot + tall * 0.45
        face.canvas.polygon(
            (face.at(left, middle), face.at(left, top), face.at(right, top), face.at(right, top - tall * 0.2)),
            face.light.glowing((upper[0], upper[1], upper[2]), distance),
        )
    if distance < 34:
        face.box((left, right), (top - 0.12, top), scaled(house.wall, 0.45))
        face.box((along - 0.04, along + 0.04), (foot, top), house.trim)
        face.box((left, right), (foot + tall * 0.62, foot + tall * 0.62 + 0.07), house.trim)
        face.box((left - 0.2, right + 0.2), (foot - 0.2, foot - 0.08), scaled(house.trim, 0.9), out=0.1)


def entrance(face: Face, house: House, along: float) -> None:
    """A front door."""
    face.box((along - 0.7, along + 0.7), (0, 2.5), house.trim)
    face.box((along - 0.52, along + 0.52), (0, 2.3), scaled(house.tiles, 0.8))
    face.box((along - 0.4, along + 0.4), (1.6, 2.15), scaled(GLASS, 1.3))


def balcony(face: Face, house: House, along: float, floor: float, width: float) -> None:
    """A small balcony with railings, standing out from the wall."""
    left, right = along - width * 0.8, along + width * 0.8
    face.box((left, right), (floor - 0.12, floor + 0.08), scaled(house.trim, 0.8), Label.BUILDING, out=0.8)
    if face.at(along, 0)[2] > 40:
        return
    dark = (0.16, 0.16, 0.17)
    face.box((left, right), (floor + 0.95, floor + 1.02), dark, None, out=0.8)
    bars = 7
    for i in range(bars + 1):
        at = left + (right - left) * i / bars
        face.box((at - 0.025, at + 0.025), (floor, floor + 1.0), dark, None, out=0.8)


def shop(face: Face, house: House, dice: Dice) -> None:
    """A ground floor of shop windows under awnings."""
    assert house.shop is not None
    panels = max(1, int(face.length / 4.0))
    step = face.length / panels
    top = house.floor - 0.55
    sign = scaled(house.shop, 0.75)
    for i in range(panels):
        left, right = i * step + 0.25, (i + 1) * step - 0.25
        distance = face.at((left + right) / 2, 0)[2]
        face.box((left, right), (top - 0.05, top + 0.5), sign)
        glow = house.lit_share > 0 or dice.chance(0.25)
        warm: RGB = (0.95, 0.80, 0.55) if house.lit_share > 0 else (0.52, 0.48, 0.42)
        pane = (face.at(left, 0.5), face.at(left, top - 0.1), face.at(right, top - 0.1), face.at(right, 0.5))
        face.canvas.polygon(pane, face.light.glowing(warm if glow else scaled(GLASS, 1.15), distance))
        if distance < 40:
            for k in range(1, 3):
                at = left + (right - left) * k / 3
                face.box((at - 0.05, at + 0.05), (0.5, top - 0.1), scaled(house.shop, 0.5))
        if dice.chance(0.6) and distance < 70:
            awning(face, house.shop, (left, right), top)


def awning(face: Face, colour: RGB, span: Pixel, top: float) -> None:
    """A striped awning sloping out over the pavement."""
    stripes = max(2, int((span[1] - span[0]) / 0.45))
    step = (span[1] - span[0]) / stripes
    for i in range(stripes):
        albedo: RGB = colour if i % 2 == 0 else (0.92, 0.90, 0.85)
        left, right = span[0] + i * step, span[0] + (i + 1) * step
        distance = face.at(left, 0)[2]
        slope = (
            face.at(left, top),
            face.at(right, top),
            face.at(right, top - 0.75, 1.2),
            face.at(left, top - 0.75, 1.2),
        )
        face.canvas.polygon(slope, face.light.lit(albedo, (0, 0.9, 0), distance), Label.BUILDING)
        face.box((left, right), (top - 1.0, top - 0.75), scaled(albedo, 0.92), Label.BUILDING, out=1.2)
