"""Cars, vans and buses: a side profile drawn out to its width and seen in perspective."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from segzoo.datasets.streets.canvas import Canvas, Colour, Pixel, Point
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled, wobble
from segzoo.datasets.streets.shadows import Shadows, turn

__all__ = ["Vehicle", "choose_bus", "choose_car", "draw_vehicle", "shade_vehicle"]

PAINTS: tuple[RGB, ...] = (
    (0.72, 0.10, 0.10),
    (0.12, 0.24, 0.50),
    (0.86, 0.87, 0.88),
    (0.20, 0.21, 0.23),
    (0.56, 0.58, 0.60),
    (0.88, 0.70, 0.18),
    (0.16, 0.42, 0.40),
    (0.42, 0.56, 0.68),
    (0.46, 0.12, 0.20),
    (0.82, 0.40, 0.16),
    (0.90, 0.88, 0.80),
    (0.10, 0.11, 0.13),
)
BUS_PAINTS: tuple[RGB, ...] = (
    (0.80, 0.14, 0.12),
    (0.93, 0.74, 0.16),
    (0.14, 0.40, 0.66),
    (0.90, 0.90, 0.88),
    (0.20, 0.52, 0.36),
)
RUBBER: RGB = (0.07, 0.07, 0.08)
GLASS: RGB = (0.13, 0.17, 0.21)

# Side profiles from the rear bottom over the roof to the front bottom: (ahead, up) as shares of length and
# height; the glazed edges; and the side windows.
Profile = tuple[tuple[float, float], ...]
SEDAN: Profile = (
    (-0.50, 0.17),
    (-0.50, 0.50),
    (-0.48, 0.66),
    (-0.36, 0.69),
    (-0.22, 0.97),
    (-0.17, 1.0),
    (0.06, 1.0),
    (0.12, 0.97),
    (0.25, 0.67),
    (0.46, 0.56),
    (0.50, 0.45),
    (0.50, 0.17),
)
HATCH: Profile = (
    (-0.50, 0.17),
    (-0.50, 0.45),
    (-0.48, 0.62),
    (-0.40, 0.96),
    (-0.36, 1.0),
    (0.04, 1.0),
    (0.10, 0.97),
    (0.25, 0.66),
    (0.46, 0.55),
    (0.50, 0.44),
    (0.50, 0.17),
)
VAN: Profile = (
    (-0.50, 0.15),
    (-0.50, 0.50),
    (-0.49, 0.96),
    (-0.46, 1.0),
    (0.24, 1.0),
    (0.28, 0.97),
    (0.40, 0.58),
    (0.49, 0.48),
    (0.50, 0.15),
)
BUS: Profile = (
    (-0.50, 0.12),
    (-0.50, 0.42),
    (-0.49, 0.95),
    (-0.485, 1.0),
    (0.485, 1.0),
    (0.495, 0.95),
    (0.50, 0.40),
    (0.50, 0.12),
)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle and where it is. `heading` is in radians, 0 away from the camera; lengths in metres."""

    kind: str
    profile: Profile
    glazed: tuple[int, ...]
    length: float
    height: float
    half: float
    paint: RGB
    label: Label
    x: float
    z: float
    heading: float
    braking: bool

    def world(self, right: float, up: float, ahead: float) -> Point:
        """From the vehicle's own coordinates to the camera's."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return self.x + right * c + ahead * s, up, self.z - right * s + ahead * c

    def turned(self, right: float, up: float, ahead: float) -> Point:
        """A direction, from the vehicle's own coordinates to the camera's, at unit length."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        size = math.sqrt(right * right + up * up + ahead * ahead) or 1.0
        return (right * c + ahead * s) / size, up / size, (-right * s + ahead * c) / size

    def half_at(self, up: float) -> float:
        """Half the width at a height (a share of the whole height): the cabin leans inwards."""
        if self.label is Label.BUS or up < 0.6:
            return self.half
        return self.half * (1 - 0.20 * (up - 0.6) / 0.4)

    def footprint(self, margin: float = 0.0) -> list[Pixel]:
        """The corners on the ground, (right, ahead)."""
        w, n = self.half + margin, self.length / 2 + margin
        corners = [self.world(x, 0, z) for x, z in ((-w, -n), (-w, n), (w, n), (w, -n))]
        return [(x, z) for x, _, z in corners]


def choose_car(dice: Dice, x: float, z: float, heading: float) -> Vehicle:
    """A car or a van."""
    kind = dice.pick(("sedan", "hatch", "hatch", "suv", "sedan", "van"))
    length, height, half = {
        "sedan": (4.5, 1.45, 0.90),
        "hatch": (3.9, 1.50, 0.86),
        "suv": (4.5, 1.75, 0.95),
        "van": (5.1, 2.15, 0.98),
    }[kind]
    profile, glazed = {"sedan": (SEDAN, (3, 7)), "hatch": (HATCH, (2, 6)), "suv": (HATCH, (2, 6)), "van": (VAN, (5,))}[
        kind
    ]
    stretch = dice.between(0.95, 1.06)
    paint = wobble(dice.pick(PAINTS), dice, 0.03)
    return Vehicle(
        kind,
        profile,
        glazed,
        length * stretch,
        height * dice.between(0.97, 1.04),
        half,
        paint,
        Label.CAR,
        x,
        z,
        heading,
        dice.chance(0.4),
    )


def choose_bus(dice: Dice, x: float, z: float, heading: float) -> Vehicle:
    """A city bus."""
    paint = wobble(dice.pick(BUS_PAINTS), dice, 0.03)
    return Vehicle(
        "bus",
        BUS,
        (1, 5),
        dice.between(9.0, 11.5),
        dice.between(2.95, 3.2),
        1.25,
        paint,
        Label.BUS,
        x,
        z,
        heading,
        dice.chance(0.4),
    )


def shade_vehicle(shadows: Shadows, vehicle: Vehicle) -> None:
    """Its shadow and the dark under it."""
    shadows.under(vehicle.footprint(), vehicle.height * 0.8)
    shadows.touch(vehicle.footprint(0.12))


def draw_vehicle(canvas: Canvas, light: Light, vehicle: Vehicle) -> None:
    """Draw a vehicle, far parts first."""
    tyres_on_end(canvas, light, vehicle)
    body(canvas, light, vehicle)
    for side in (-1, 1):
        flank(canvas, light, vehicle, side)
    back = (-1, vehicle.turned(0, 0, -1))
    front = (1, vehicle.turned(0, 0, 1))
    for end, normal in (back, front):
        middle = vehicle.world(0, 0.7, end * vehicle.length / 2)
        if normal[0] * middle[0] + normal[2] * middle[2] < 0 and middle[2] > 1.2:
            end_details(canvas, light, vehicle, end, middle[2])


def tyres_on_end(canvas: Canvas, light: Light, vehicle: Vehicle) -> None:
    """The tyres as seen from behind or from in front, under the body."""
    axle = vehicle.length * 0.36
    for ahead in (axle, -axle) if math.cos(vehicle.heading) > 0 else (-axle, axle):
        for side in (-1, 1):
            inner, outer = side * (vehicle.half - 0.26), side * (vehicle.half - 0.02)
            corners = [
                vehicle.world(inner, 0, ahead),
                vehicle.world(inner, 0.5, ahead),
                vehicle.world(outer, 0.5, ahead),
                vehicle.world(outer, 0, ahead),
            ]
            canvas.polygon(corners, light.lit(RUBBER, (0, 0, -1), corners[0][2]), vehicle.label)


def body(canvas: Canvas, light: Light, vehicle: Vehicle) -> None:
    """The strips of sheet metal and glass between the two flanks."""
    strips = []
    for k, ends in enumerate(itertools.pairwise(vehicle.profile)):
        (z0, y0, w0), (z1, y1, w1) = ((vehicle.length * z, vehicle.height * y, vehicle.half_at(y)) for z, y in ends)
        corners = [
            vehicle.world(-w0, y0, z0),
            vehicle.world(-w1, y1, z1),
            vehicle.world(w1, y1, z1),
            vehicle.world(w0, y0, z0),
        ]
        normal = vehicle.turned(0, z1 - z0, -(y1 - y0))
        strips.append((-sum(point[2] for point in corners), k, corners, normal, ((w0, y0, z0), (w1, y1, z1))))
    for _, k, corners, normal, edges in sorted(strips, key=lambda strip: strip[0]):
        if not canvas.faces_camera(corners):
            continue
        distance = corners[0][2]
        canvas.polygon(corners, light.lit(vehicle.paint, normal, distance), vehicle.label)
        if k in vehicle.glazed:
            windscreen(canvas, light, vehicle, edges, distance)


def windscreen(canvas: Canvas, light: Light, vehicle: Vehicle, edges: tuple[Point, Point], distance: float) -> None:
    """Glass set into a strip between two edges (half width, up, ahead), with the sky in its upper part."""
    (w0, y0, z0), (w1, y1, z1) = edges
    for low, high, shine in ((0.06, 0.92, 0.10), (0.5, 0.92, 0.32)):
        quad = []
        for sign, share in ((-1, low), (-1, high), (1, high), (1, low)):
            if shine > 0.2 and sign == 1:
                share = min(share + 0.12, high)
            width = (w0 + (w1 - w0) * share) * 0.90
            quad.append(vehicle.world(sign * width, y0 + (y1 - y0) * share, z0 + (z1 - z0) * share))
        tone = tuple(GLASS[i] * (1 - shine) + light.horizon[i] * shine for i in range(3))
        canvas.polygon(quad, light.glowing((tone[0], tone[1], tone[2]), distance))


def flank(canvas: Canvas, light: Light, vehicle: Vehicle, side: int) -> None:
    """One side: sheet metal, windows, door seams, wheels."""
    outline = [
        vehicle.world(side * vehicle.half_at(y), vehicle.height * y, vehicle.length * z) for z, y in vehicle.profile
    ]
    if side < 0:
        outline.reverse()
    if not canvas.faces_camera(outline):
        return
    distance = max(vehicle.z, 0)
    normal = vehicle.turned(side, 0.12, 0)
    canvas.polygon(outline, light.lit(vehicle.paint, normal, distance), vehicle.label)
    sill = [(-0.5, 0.17), (-0.5, 0.30), (0.5, 0.30), (0.5, 0.17)]
    patch(canvas, vehicle, side, sill, light.lit(scaled(vehicle.paint, 0.72), normal, distance))
    for pane in panes(vehicle):
        dark = tuple(GLASS[i] * 0.84 + light.horizon[i] * 0.14 for i in range(3))
        patch(canvas, vehicle, side, pane, light.glowing((dark[0], dark[1], dark[2]), distance))
    if vehicle.label is Label.BUS:
        stripe = [(-0.5, 0.36), (-0.5, 0.41), (0.5, 0.41), (0.5, 0.36)]
        patch(canvas, vehicle, side, stripe, light.lit((0.92, 0.92, 0.9), normal, distance))
    elif vehicle.z < 40:
        for seam in (-0.16, 0.08):
            line = [(seam, 0.24), (seam, 0.64), (seam + 0.006, 0.64), (seam + 0.006, 0.24)]
            patch(canvas, vehicle, side, line, light.lit(scaled(vehicle.paint, 0.5), normal, distance))
        handle = [(-0.13, 0.56), (-0.13, 0.59), (-0.09, 0.59), (-0.09, 0.56)]
        patch(canvas, vehicle, side, handle, light.lit(scaled(vehicle.paint, 0.6), normal, distance))
    wheels(canvas, light, vehicle, side, normal)


def panes(vehicle: Vehicle) -> list[list[Pixel]]:
    """The side windows, as shares of length and height."""
    if vehicle.label is Label.BUS:
        step = 0.96 / 6
        return [
            [
                (-0.48 + i * step, 0.50),
                (-0.48 + i * step, 0.88),
                (-0.48 + (i + 0.9) * step, 0.88),
                (-0.48 + (i + 0.9) * step, 0.50),
            ]
            for i in range(6)
        ]
    if vehicle.kind == "van":
        return [[(0.12, 0.60), (0.12, 0.90), (0.25, 0.90), (0.35, 0.60)]]
    rear = -0.30 if vehicle.kind == "sedan" else -0.43
    top = -0.19 if vehicle.kind == "sedan" else -0.37
    return [
        [(rear, 0.70), (top, 0.93), (-0.10, 0.94), (-0.10, 0.69)],
        [(-0.08, 0.69), (-0.08, 0.94), (0.07, 0.93), (0.20, 0.69)],
    ]


def patch(canvas: Canvas, vehicle: Vehicle, side: int, shares: Sequence[Pixel], colour: Colour) -> None:
    """A polygon on one flank, in shares of length and height."""
    canvas.polygon(
        [vehicle.world(side * vehicle.half_at(y), vehicle.height * y, vehicle.length * z) for z, y in shares],
        colour,
    )


def wheels(canvas: Canvas, light: Light, vehicle: Vehicle, side: int, normal: Point) -> None:
    """Two wheels on one flank."""
    radius = 0.48 if vehicle.label is Label.BUS else 0.33
    distance = max(vehicle.z, 0)
    rim = light.lit((0.62, 0.63, 0.65), normal, distance)
    tyre = light.lit(RUBBER, normal, distance)
    arch = light.lit(scaled(vehicle.paint, 0.35), normal, distance)
    for ahead in (-0.31 * vehicle.length, 0.31 * vehicle.length):
        for size, colour, label in (
            (1.16, arch, None),
            (1.0, tyre, vehicle.label),
            (0.62, rim, None),
            (0.2, tyre, None),
        ):
            ring = [
                vehicle.world(
                    side * (vehicle.half + 0.01),
                    radius + size * radius * math.sin(a),
                    ahead + size * radius * math.cos(a),
                )
                for a in turn(16)
            ]
            if size > 1:
                ring = [(x, max(y, 0.17 * vehicle.height), z) for x, y, z in ring]
            canvas.polygon(ring, colour, label)


def end_details(canvas: Canvas, light: Light, vehicle: Vehicle, end: int, distance: float) -> None:
    """Lamps, number plate, bumper and grille; `end` is -1 behind and 1 in front."""
    normal = vehicle.turned(0, 0, end)
    h, w = vehicle.height, vehicle.half

    def panel(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        ahead = end * (vehicle.length / 2 + 0.01)
        corners = ((x0, y0), (x0, y1), (x1, y1), (x1, y0))
        canvas.polygon([vehicle.world(x * w, y * h, ahead) for x, y in corners], colour)

    panel(-1, 0.17, 1, 0.27, light.lit((0.13, 0.13, 0.14), normal, distance))
    panel(-0.28, 0.29, 0.28, 0.37, light.lit((0.92, 0.91, 0.86), normal, distance))
    lamp_low, lamp_high = (0.18, 0.26) if vehicle.label is Label.BUS else (0.38, 0.48)
    if end < 0:
        glow: RGB = (0.95, 0.10, 0.08) if vehicle.braking or light.lamps else (0.55, 0.06, 0.06)
        lamp = light.glowing(glow, distance) if vehicle.braking or light.lamps else light.lit(glow, normal, distance)
    else:
        panel(-0.5, 0.28, 0.5, 0.44, light.lit((0.10, 0.10, 0.11), normal, distance))
        panel(-0.28, 0.22, 0.28, 0.29, light.lit((0.92, 0.91, 0.86), normal, distance))
        lamp = (
            light.glowing((1, 0.97, 0.86), distance) if light.lamps else light.lit((0.9, 0.9, 0.88), normal, distance)
        )
    for side in (-1, 1):
        low, high = sorted((side * 0.62, side * 0.97))
        panel(low, lamp_low, high, lamp_high, lamp)
        if light.lamps:
            centre = vehicle.world(side * 0.8 * w, (lamp_low + lamp_high) / 2 * h, end * vehicle.length / 2)
            size = canvas.camera.scale(distance) * (0.24 if end > 0 else 0.17)
            canvas.glow(canvas.camera.project(centre), size, (255, 236, 190) if end > 0 else (255, 40, 30))
    if vehicle.label is Label.BUS:
        panel(-0.55, 0.90, 0.55, 0.98, light.lit((0.08, 0.08, 0.08), normal, distance))
        panel(-0.42, 0.92, 0.30, 0.96, light.glowing((1.0, 0.72, 0.2), distance))
