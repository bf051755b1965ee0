"""The ground of a street: its plan, carriageway, pavements, verges and markings."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from segzoo.datasets.streets.canvas import Canvas, Pixel, Point
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, wobble
from segzoo.datasets.streets.shadows import turn

__all__ = ["END", "KERB", "Plan", "choose_plan", "draw_ground"]

KERB = 0.13  # metres the pavement lies above the carriageway
END = 170.0  # metres to the end of the street
STATIONS = tuple(0.9 * (END / 0.9) ** (i / 30) for i in range(31))  # finer where the picture shows more
WHITE: RGB = (0.86, 0.86, 0.83)


@dataclass(frozen=True)
class Plan:
    """The street from above, in metres. `lateral` is measured from the middle of the carriageway.

    Attributes:
        half: half the width of the carriageway; lanes of `lane` metres on each side of the middle.
        pavement: widths of the left and the right pavement.
        verge: widths of the grass between kerb and pavement, part of `pavement`; 0 where there is none.
        camera: where the camera is, laterally.
        bend, slant: curvature and direction of the street ahead.
        crossing: distance of a cross street (None: there is none), `crossing_width` metres wide.
        zebra: distance of a zebra crossing, or None.
    """

    half: float
    lane: float
    lanes: int
    pavement: tuple[float, float]
    verge: tuple[float, float]
    camera: float
    bend: float
    slant: float
    crossing: float | None
    crossing_width: float
    zebra: float | None
    asphalt: RGB
    paving: RGB
    grass: RGB

    def x(self, lateral: float, z: float) -> float:
        """Metres to the right of the camera of a point on the street."""
        return lateral - self.camera + self.slant * z + self.bend * z * z

    def point(self, lateral: float, z: float, y: float = 0.0) -> Point:
        """A point of the street as the camera sees it: (right, up, ahead)."""
        return self.x(lateral, z), y, z

    def yaw(self, z: float) -> float:
        """The street's direction at a distance, radians to the right of straight ahead."""
        return math.atan(self.slant + 2 * self.bend * z)

    def edge(self, side: int) -> float:
        """Lateral position of the outer edge of the pavement on a side (-1 left, 1 right)."""
        return side * (self.half + self.pavement[(side + 1) // 2])

    def crossed(self, z0: float, z1: float) -> bool:
        """Whether a stretch touches the cross street."""
        return self.crossing is not None and z1 > self.crossing and z0 < self.crossing + self.crossing_width


def choose_plan(dice: Dice) -> Plan:
    """Lay out a street."""
    lanes = dice.pick((1, 1, 1, 2, 2))
    lane = dice.between(3.1, 3.7)
    parking = dice.between(1.9, 2.4)
    half = lanes * lane + parking
    own = dice.whole(0, lanes - 1)
    crossing = dice.between(12, 21) if dice.chance(0.45) else None
    zebra = None
    if crossing is not None:
        zebra = crossing - dice.between(3.6, 5.0)
    elif dice.chance(0.35):
        zebra = dice.between(7, 15)
    grey = dice.between(0.29, 0.46)
    light_grey = dice.between(0.54, 0.74)
    warm = dice.between(-0.01, 0.08)
    return Plan(
        half=half,
        lane=lane,
        lanes=lanes,
        pavement=(dice.between(3.2, 5.6), dice.between(3.2, 5.6)),
        verge=(choose_verge(dice), choose_verge(dice)),
        camera=(own + 0.5) * lane + dice.between(-0.5, 0.5),
        bend=dice.between(-0.0016, 0.0016) if dice.chance(0.55) else 0.0,
        slant=dice.between(-0.09, 0.09),
        crossing=crossing,
        crossing_width=dice.between(7, 11),
        zebra=zebra,
        asphalt=wobble((grey, grey, grey * 1.05), dice, 0.012),
        paving=wobble((light_grey + warm, light_grey, light_grey - warm), dice, 0.02),
        grass=wobble((0.36, 0.50, 0.22), dice, 0.05),
    )


def choose_verge(dice: Dice) -> float:
    """The width of the grass along a kerb, or 0."""
    return dice.between(1.1, 1.7) if dice.chance(0.35) else 0.0


def draw_ground(canvas: Canvas, light: Light, plan: Plan, dice: Dice) -> None:
    """Draw everything that lies flat."""
    camera = canvas.camera
    far = light.lit(plan.grass, distance=END * 0.7)
    width, height = canvas.picture.size
    tilt = camera.roll * width / 2
    level = camera.horizon
    canvas.shape([(0, level - tilt), (width, level + tilt), (width, height), (0, height)], far, Label.TERRAIN)
    for side in (-1, 1):
        strip(canvas, light, plan, plan.grass, (plan.edge(side), side * 90), Label.TERRAIN)
    if plan.crossing is not None:
        cross_street(canvas, light, plan)
    strip(canvas, light, plan, plan.asphalt, (-plan.half, plan.half), Label.ROAD)
    patches(canvas, light, plan, dice)
    markings(canvas, light, plan, dice)
    for side in (-1, 1):
        pavement(canvas, light, plan, side, dice)


def strip(
    canvas: Canvas,
    light: Light,
    plan: Plan,
    albedo: RGB,
    laterals: Pixel,
    label: Label | None,
    span: Pixel = (0.0, END),
    y: float = 0.0,
) -> None:
    """A band along the street between two lateral positions."""
    stations = [span[0], *(z for z in STATIONS if span[0] < z < span[1]), span[1]]
    for near, ahead in itertools.pairwise(stations):
        corners = [
            plan.point(laterals[0], near, y),
            plan.point(laterals[0], ahead, y),
            plan.point(laterals[1], ahead, y),
            plan.point(laterals[1], near, y),
        ]
        canvas.polygon(corners, light.lit(albedo, distance=near), label)


def cross_street(canvas: Canvas, light: Light, plan: Plan) -> None:
    """A street at right angles, with its own pavements."""
    assert plan.crossing is not None
    z0, z1 = plan.crossing, plan.crossing + plan.crossing_width
    for margin, albedo, label in ((3.0, plan.paving, Label.SIDEWALK), (0.0, plan.asphalt, Label.ROAD)):
        corners = [
            (-90.0, 0.0, z0 - margin),
            (-90.0, 0.0, z1 + margin),
            (90.0, 0.0, z1 + margin),
            (90.0, 0.0, z0 - margin),
        ]
        canvas.polygon(corners, light.lit(albedo, distance=z0), label)


def pavement(canvas: Canvas, light: Light, plan: Plan, side: int, dice: Dice) -> None:
    """The pavement of one side with its kerb and the joints of its slabs."""
    inner, outer = side * plan.half, plan.edge(side)
    spans = [(0.0, END)]
    if plan.crossing is not None:
        spans = [(0.0, plan.crossing), (plan.crossing + plan.crossing_width, END)]
    joint = (plan.paving[0] * 0.86, plan.paving[1] * 0.86, plan.paving[2] * 0.86)
    kerbstone = (plan.paving[0] * 1.12, plan.paving[1] * 1.12, plan.paving[2] * 1.12)
    slab = dice.between(0.9, 1.6)
    for span in spans:
        kerb_face(canvas, light, plan, inner, side, span)
        strip(canvas, light, plan, plan.paving, (inner, outer), Label.SIDEWALK, span, KERB)
        for k in range(1, 3):
            lateral = inner + (outer - inner) * k / 3
            strip(canvas, light, plan, joint, (lateral, lateral + 0.04), None, (span[0], min(span[1], 40)), KERB)
        z = span[0] + slab
        while z < min(span[1], 34):
            line(canvas, light, plan, joint, (inner, outer), (z, z + 0.04), KERB)
            z += slab
        strip(canvas, light, plan, kerbstone, (inner, inner + side * 0.16), None, span, KERB)
        verge(canvas, light, plan, side, span)


def verge(canvas: Canvas, light: Light, plan: Plan, side: int, span: Pixel) -> None:
    """The grass along the kerb of one side, with a gap at the zebra crossing."""
    width = plan.verge[(side + 1) // 2]
    if not width:
        return
    spans = [span]
    if plan.zebra is not None and span[0] < plan.zebra < span[1]:
        spans = [(span[0], plan.zebra - 1.0), (min(plan.zebra + 4.0, span[1]), span[1])]
    laterals = (side * (plan.half + 0.16), side * (plan.half + width))
    for part in spans:
        strip(canvas, light, plan, plan.grass, laterals, Label.TERRAIN, part, KERB)


def kerb_face(canvas: Canvas, light: Light, plan: Plan, lateral: float, side: int, span: Pixel) -> None:
    """The upright face of the kerb."""
    dark = (plan.paving[0] * 0.95, plan.paving[1] * 0.95, plan.paving[2] * 0.95)
    stations = [span[0], *(z for z in STATIONS if span[0] < z < span[1]), span[1]]
    for near, ahead in itertools.pairwise(stations):
        corners = [
            plan.point(lateral, near),
            plan.point(lateral, ahead),
            plan.point(lateral, ahead, KERB),
            plan.point(lateral, near, KERB),
        ]
        canvas.polygon(corners, light.lit(dark, (-side, 0, 0), near), Label.SIDEWALK)


def line(canvas: Canvas, light: Light, plan: Plan, albedo: RGB, laterals: Pixel, span: Pixel, y: float = 0.0) -> None:
    """One rectangle on the ground, in paint or a joint."""
    corners = [
        plan.point(laterals[0], span[0], y),
        plan.point(laterals[0], span[1], y),
        plan.point(laterals[1], span[1], y),
        plan.point(laterals[1], span[0], y),
    ]
    canvas.polygon(corners, light.lit(albedo, distance=span[0]))


def patches(canvas: Canvas, light: Light, plan: Plan, dice: Dice) -> None:
    """Repairs, manhole covers and cracks: the carriageway's history."""
    for _ in range(dice.whole(1, 5)):
        z, lateral = dice.between(3, 30), dice.between(-plan.half, plan.half * 0.7)
        shade = dice.between(0.82, 1.14)
        albedo = (plan.asphalt[0] * shade, plan.asphalt[1] * shade, plan.asphalt[2] * shade)
        right = min(lateral + dice.between(0.6, 2.5), plan.half)
        line(canvas, light, plan, albedo, (lateral, right), (z, z + dice.between(1, 7)))
    for _ in range(dice.whole(0, 3)):
        z, lateral = dice.between(4, 22), dice.between(-plan.half * 0.8, plan.half * 0.8)
        shade = dice.between(0.55, 0.75)
        albedo = (plan.asphalt[0] * shade, plan.asphalt[1] * shade, plan.asphalt[2] * shade)
        ring = [plan.point(lateral + 0.34 * math.cos(a), z + 0.34 * math.sin(a)) for a in turn(14)]
        canvas.polygon(ring, light.lit(albedo, distance=z))


def markings(canvas: Canvas, light: Light, plan: Plan, dice: Dice) -> None:
    """Lane lines, a stop line, a zebra crossing, sometimes a coloured cycle lane."""
    stop = plan.crossing if plan.crossing is not None else END
    if dice.chance(0.3):
        tint = dice.pick(((0.50, 0.24, 0.20), (0.24, 0.40, 0.30)))
        strip(canvas, light, plan, tint, (plan.half - 1.7, plan.half), None, (0, min(stop, 90)))
    edge = plan.lanes * plan.lane
    yellow = dice.chance(0.25)
    middle: RGB = (0.85, 0.68, 0.25) if yellow else WHITE
    if dice.chance(0.4):
        for shift in (-0.16, 0.06):
            strip(canvas, light, plan, middle, (shift, shift + 0.11), None, (0, min(stop, 110)))
    else:
        dashes(canvas, light, plan, middle, 0.0, stop, dice)
    for side in (-1, 1):
        for k in range(1, plan.lanes):
            dashes(canvas, light, plan, WHITE, side * k * plan.lane, stop, dice)
        dashes(canvas, light, plan, WHITE, side * edge, stop, dice, period=1.6, share=0.4)
    if plan.zebra is not None:
        lateral = -plan.half + 0.3
        while lateral + 0.5 < plan.half:
            line(canvas, light, plan, WHITE, (lateral, lateral + 0.5), (plan.zebra, plan.zebra + 3.0))
            lateral += 1.0
        line(canvas, light, plan, WHITE, (0.1, edge), (plan.zebra - 1.6, plan.zebra - 1.2))


def dashes(
    canvas: Canvas,
    light: Light,
    plan: Plan,
    albedo: RGB,
    lateral: float,
    stop: float,
    dice: Dice,
    period: float = 7.0,
    share: float = 0.45,
) -> None:
    """A dashed line along the street."""
    z = dice.between(0, period) - period + 1
    zebra = plan.zebra if plan.zebra is not None else 2 * END
    while z < min(stop, 75):
        if zebra - 1.8 - period * share < z < zebra + 3.2:
            z = zebra + 3.2
        line(canvas, light, plan, albedo, (lateral - 0.07, lateral + 0.07), (max(z, 0.5), z + period * share))
        z += period
