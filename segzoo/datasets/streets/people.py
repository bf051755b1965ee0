"""People on foot and on bicycles, and bicycles left at the kerb."""

from __future__ import annotations

import math

from segzoo.datasets.streets.canvas import Board, Canvas, Colour
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled, wobble
from segzoo.datasets.streets.shadows import turn

__all__ = ["draw_bicycle", "draw_cyclist", "draw_person"]

Foot = tuple[float, float, float]  # right, up, ahead
SKIN: tuple[RGB, ...] = ((0.86, 0.66, 0.54), (0.72, 0.52, 0.40), (0.52, 0.36, 0.27), (0.36, 0.25, 0.19))
HAIR: tuple[RGB, ...] = ((0.12, 0.10, 0.09), (0.30, 0.20, 0.13), (0.58, 0.44, 0.26), (0.45, 0.43, 0.42))
TOPS: tuple[RGB, ...] = (
    (0.74, 0.18, 0.18),
    (0.20, 0.34, 0.62),
    (0.90, 0.88, 0.84),
    (0.32, 0.34, 0.40),
    (0.86, 0.66, 0.22),
    (0.24, 0.46, 0.34),
    (0.60, 0.36, 0.54),
    (0.50, 0.48, 0.42),
)
LEGS: tuple[RGB, ...] = ((0.16, 0.20, 0.32), (0.24, 0.24, 0.27), (0.50, 0.44, 0.34), (0.38, 0.40, 0.44))
FRAMES: tuple[RGB, ...] = (
    (0.70, 0.14, 0.14),
    (0.12, 0.32, 0.56),
    (0.14, 0.40, 0.28),
    (0.14, 0.14, 0.15),
    (0.86, 0.86, 0.84),
)


def facing(light: Light) -> Foot:
    """A normal for flat figures: towards the camera, leaning to the light a little."""
    return (0.35 if light.sun[0] > 0 else -0.35, 0.35, -0.8)


def lamplight(light: Light) -> float:
    """How much brighter people are than the dusk around them: they walk under the lamps."""
    return 1.35 if light.lamps else 1.0


def draw_person(canvas: Canvas, light: Light, dice: Dice, foot: Foot, height: float, sideways: bool) -> None:
    """Somebody walking: `sideways` across the picture, otherwise towards or away from the camera."""
    board = canvas.local(*foot)
    normal = facing(light)

    def tone(albedo: RGB, shade: float = 1.0) -> Colour:
        return light.lit(scaled(albedo, shade * lamplight(light)), normal, foot[2])

    skin, hair = dice.pick(SKIN), dice.pick(HAIR)
    top, legs = wobble(dice.pick(TOPS), dice, 0.04), wobble(dice.pick(LEGS), dice, 0.03)
    coat, bag = dice.chance(0.4), dice.chance(0.4)
    s = height / 1.75
    way = dice.pick((-1, 1))
    stride = dice.between(0.16, 0.32) * s * way if sideways else dice.between(0.06, 0.11) * s
    hip, shoulder = 0.88 * s, 1.42 * s
    wide = 0.20 * s if sideways else 0.26 * s
    kept = Label.PERSON
    swing = -stride * 0.9 if sideways else 0.05 * s
    arm_far = (0.02 * s - swing, 0.86 * s) if sideways else (wide + 0.05 * s, 0.84 * s)
    shoulder_far = (0.0, shoulder - 0.05 * s) if sideways else (wide * 0.9, shoulder - 0.06 * s)
    board.limb(shoulder_far, arm_far, (0.08 * s, 0.065 * s), tone(top, 0.75), kept)
    for sign, shade in ((-1, 0.78), (1, 1.0)):
        x = sign * stride
        root = (0.0, hip) if sideways else (sign * 0.08 * s, hip)
        knee = (x * 0.55 + (0.04 * s * way if sideways else sign * 0.07 * s), 0.46 * s)
        ankle = (x if sideways else sign * 0.09 * s, 0.07 * s)
        board.limb(root, knee, (0.12 * s, 0.10 * s), tone(legs, shade), kept)
        board.limb(knee, ankle, (0.10 * s, 0.075 * s), tone(legs, shade * 0.95), kept)
        toe = (ankle[0] + (0.11 * s * way if sideways else 0.0), 0.045 * s)
        board.limb(ankle, toe, (0.075 * s, 0.055 * s), tone((0.14, 0.11, 0.10)), kept)
    if bag:
        board.box(-wide - 0.06 * s, 0.98 * s, -wide + 0.14 * s, 1.34 * s, tone((0.30, 0.22, 0.16)), kept)
    hem = 0.62 * s if coat else hip - 0.06 * s
    torso = [
        (-wide, hem),
        (-wide * 1.02, shoulder - 0.05 * s),
        (-wide * 0.55, shoulder + 0.04 * s),
        (wide * 0.55, shoulder + 0.04 * s),
        (wide * 1.02, shoulder - 0.05 * s),
        (wide, hem),
    ]
    board.shape(torso, tone(top), kept)
    dark_half = [(0.0, hem), (0.0, shoulder), (wide, shoulder - 0.05 * s), (wide, hem)]
    if light.sun[0] < 0:
        board.shape(dark_half, tone(top, 0.86))
    near = (swing, 0.86 * s) if sideways else (-wide - 0.05 * s, 0.84 * s)
    near_shoulder = (0.0, shoulder - 0.05 * s) if sideways else (-wide * 0.9, shoulder - 0.06 * s)
    board.limb(near_shoulder, near, (0.085 * s, 0.065 * s), tone(top, 1.08), kept)
    board.disc(*near, 0.06 * s, tone(skin), kept)
    board.limb((0, shoulder), (0, shoulder + 0.1 * s), (0.06 * s, 0.055 * s), tone(skin, 0.9), kept)
    head(board, (0.0, shoulder + 0.22 * s), s, tone(skin), tone(hair), sideways * way)


def head(board: Board, middle: tuple[float, float], s: float, skin: Colour, hair: Colour, way: int) -> None:
    """A head; `way` is where it looks: -1 left, 1 right, 0 away from the camera."""
    x, y = middle
    board.disc(x, y, (0.13 * s, 0.15 * s), hair, Label.PERSON)
    if way:
        board.disc(x + way * 0.035 * s, y - 0.035 * s, (0.10 * s, 0.115 * s), skin)


def draw_bicycle(canvas: Canvas, light: Light, dice: Dice, foot: Foot, way: int, yaw: float) -> None:
    """A bicycle seen from the side, its front towards `way` (-1 left, 1 right), turned by `yaw` radians."""
    board = canvas.local(*foot, yaw)
    paint = wobble(dice.pick(FRAMES), dice, 0.03)
    normal = facing(light)
    frame = light.lit(paint, normal, foot[2])
    rubber, steel = light.lit((0.08, 0.08, 0.08), normal, foot[2]), light.lit((0.6, 0.6, 0.62), normal, foot[2])
    radius, rear, fore = 0.36, -0.54 * way, 0.54 * way
    for x in (rear, fore):
        wheel(board, x, radius, rubber, steel)
    crank, seat, bar = (-0.08 * way, 0.32), (-0.22 * way, 0.86), (0.40 * way, 0.92)
    neck = (0.36 * way, 0.80)
    for a, b in (
        (crank, seat),
        (crank, neck),
        ((-0.2 * way, 0.76), neck),
        ((rear, radius), crank),
        ((rear, radius), (-0.2 * way, 0.76)),
        ((fore, radius), bar),
    ):
        board.limb(a, b, (0.035, 0.035), frame, Label.BICYCLE)
    board.limb((seat[0] - 0.12, 0.9), (seat[0] + 0.12, 0.91), (0.05, 0.04), rubber, Label.BICYCLE)
    board.limb(bar, (bar[0] - 0.12 * way, 1.0), (0.035, 0.035), rubber, Label.BICYCLE)
    board.disc(*crank, 0.1, steel)
    board.disc(*crank, 0.06, rubber)


def wheel(board: Board, x: float, radius: float, rubber: Colour, steel: Colour) -> None:
    """A spoked wheel. The whole disc belongs to the bicycle, as in Cityscapes; one sees through it."""
    canvas = board.canvas
    ring = [board.at(x + radius * math.cos(a), radius + radius * math.sin(a)) for a in turn(24)]
    inner = [board.at(x + 0.84 * radius * math.cos(a), radius + 0.84 * radius * math.sin(a)) for a in turn(24)]
    canvas.shape(ring, (*steel[:3], 46), Label.BICYCLE)
    for i in range(24):
        j = (i + 1) % 24
        canvas.shape([ring[i], ring[j], inner[j], inner[i]], rubber)
    for a in turn(10):
        end = (x + 0.84 * radius * math.cos(a), radius + 0.84 * radius * math.sin(a))
        board.limb((x, radius), end, (0.007, 0.007), steel)
    board.disc(x, radius, 0.045, steel)


def draw_cyclist(canvas: Canvas, light: Light, dice: Dice, foot: Foot, way: int) -> None:
    """Somebody riding across the picture towards `way` (-1 left, 1 right)."""
    draw_bicycle(canvas, light, dice, foot, way, 0.0)
    board = canvas.local(*foot)
    normal = facing(light)

    def tone(albedo: RGB, shade: float = 1.0) -> Colour:
        return light.lit(scaled(albedo, shade * lamplight(light)), normal, foot[2])

    skin, top = dice.pick(SKIN), wobble(dice.pick(TOPS), dice, 0.04)
    legs, helmet = dice.pick(LEGS), dice.pick(TOPS)
    hip, shoulder = (-0.2 * way, 0.98), (0.12 * way, 1.46)
    kept = Label.PERSON
    for knee, ankle, shade in (
        ((0.16 * way, 0.78), (0.02 * way, 0.36), 0.75),
        ((0.2 * way, 0.66), (-0.1 * way, 0.24), 1.0),
    ):
        board.limb(hip, knee, (0.12, 0.10), tone(legs, shade), kept)
        board.limb(knee, ankle, (0.10, 0.075), tone(legs, shade * 0.95), kept)
        board.limb(ankle, (ankle[0] + 0.14 * way, ankle[1] - 0.02), (0.055, 0.04), tone((0.1, 0.1, 0.1)), kept)
    board.limb(hip, shoulder, (0.17, 0.18), tone(top), kept)
    elbow = (0.3 * way, 1.16)
    board.limb(shoulder, elbow, (0.085, 0.07), tone(top, 1.1), kept)
    board.limb(elbow, (0.38 * way, 1.0), (0.05, 0.045), tone(skin), kept)
    board.limb(shoulder, (0.17 * way, 1.6), (0.06, 0.06), tone(skin, 0.9), kept)
    board.disc(0.2 * way, 1.70, (0.125, 0.14), tone(skin), kept)
    board.disc(0.19 * way, 1.76, (0.145, 0.11), tone(helmet), kept)
