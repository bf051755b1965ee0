"""Trees, hedges, and the walls and fences they look over."""

from __future__ import annotations

import math

from segzoo.datasets.streets.buildings import Face
from segzoo.datasets.streets.canvas import Canvas, Pixel
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled, wobble

__all__ = ["choose_foliage", "draw_hedge", "draw_tree", "draw_wall"]

LEAVES: tuple[RGB, ...] = (
    (0.26, 0.42, 0.16),
    (0.32, 0.47, 0.19),
    (0.22, 0.37, 0.20),
    (0.40, 0.50, 0.20),
    (0.24, 0.40, 0.14),
    (0.60, 0.44, 0.16),
    (0.62, 0.33, 0.15),
)
BARK: RGB = (0.30, 0.24, 0.19)


def choose_foliage(dice: Dice) -> RGB:
    """The leaf colour that the trees of a street share."""
    return wobble(dice.pick(LEAVES), dice, 0.03)


def draw_tree(
    canvas: Canvas, light: Light, dice: Dice, foot: tuple[float, float, float], height: float, leaves: RGB
) -> None:
    """A tree standing at `foot` (right, up, ahead), `height` metres tall."""
    x, y, z = foot
    board = canvas.local(x, y, z)
    leaves = wobble(leaves, dice, 0.03)
    bark = light.lit(BARK, (0, 0.2, -0.8), z)
    thick = 0.028 * height
    fork = height * 0.42
    board.limb((0, 0), (0, fork), (thick, thick * 0.7), bark, Label.VEGETATION)
    if dice.chance(0.22):
        conifer(canvas, light, dice, (x, y, z), height, leaves)
        return
    for lean in (-0.5, 0.1, 0.55):
        tip = (lean * height * 0.3, height * 0.62)
        board.limb((0, fork * 0.8), tip, (thick * 0.6, thick * 0.25), bark, Label.VEGETATION)
    radius = height * dice.between(0.25, 0.31)
    middle = height * 0.66
    lean = 0.35 if light.sun[0] > 0 else -0.35
    blobs = 26 if z < 45 else 10
    crown = [blob(dice) for _ in range(blobs)]
    for shade, shrink, lift, label in (
        (0.55, 1.0, -0.06, Label.VEGETATION),
        (0.8, 0.86, 0.02, None),
        (1.05, 0.62, 0.16, None),
    ):
        colour = light.lit(scaled(leaves, shade), (lean, 0.85, -0.3), z)
        for dx, dy, size in crown:
            cx = dx * radius * shrink + (1 - shrink) * lean * radius
            cy = middle + dy * radius * shrink * 0.95 + lift * radius
            board.disc(cx, cy, size * radius * (0.45 + 0.55 * shrink), colour, label)
    if z < 30:
        speckle(canvas, light, dice, (x, y, z), (middle, radius, lean), leaves)


def blob(dice: Dice) -> tuple[float, float, float]:
    """Middle and radius of one lump of a crown of radius 1."""
    angle, reach = dice.between(0, 2 * math.pi), math.sqrt(dice.between(0, 1)) * 0.78
    return reach * math.cos(angle), reach * math.sin(angle), dice.between(0.24, 0.42)


def speckle(
    canvas: Canvas,
    light: Light,
    dice: Dice,
    foot: tuple[float, float, float],
    crown: tuple[float, float, float],
    leaves: RGB,
) -> None:
    """Single clumps of leaves, light ones towards the sun and dark ones below."""
    board = canvas.local(*foot)
    middle, radius, lean = crown
    for _ in range(60):
        dx, dy, size = blob(dice)
        towards = 0.5 + 0.5 * (dy + dx * lean)
        shade = 0.5 + 0.85 * towards * dice.between(0.7, 1.15)
        colour = light.lit(scaled(leaves, shade), (lean, 0.85, -0.3), foot[2])
        board.disc(dx * radius * 1.15, middle + dy * radius * 1.1, size * radius * 0.22, colour)


def conifer(
    canvas: Canvas, light: Light, dice: Dice, foot: tuple[float, float, float], height: float, leaves: RGB
) -> None:
    """A fir: tiers of branches."""
    board = canvas.local(*foot)
    tiers = 6
    for k in range(tiers):
        share = k / tiers
        base, top = height * (0.14 + 0.72 * share), height * (0.42 + 0.60 * share)
        half = height * 0.23 * (1 - share * 0.82)
        for shade, left in ((0.55, -1.0), (0.78, -0.1)):
            colour = light.lit(scaled(leaves, shade * dice.between(0.95, 1.05)), (0.2, 0.7, -0.4), foot[2])
            label = Label.VEGETATION if left == -1.0 else None
            board.shape(
                [(left * half, base), (0, top), (half, base), (half * 0.4, base + 0.05 * height)], colour, label
            )


def draw_hedge(
    canvas: Canvas, light: Light, dice: Dice, front: tuple[Pixel, Pixel], height: float, leaves: RGB
) -> None:
    """A clipped hedge along the pavement."""
    face = Face(canvas, light, *front)
    leaves = scaled(leaves, 0.8)
    face.box((0, face.length), (0, height), leaves, Label.VEGETATION)
    top = [
        face.at(0, height),
        face.at(face.length, height),
        face.at(face.length, height, -0.9),
        face.at(0, height, -0.9),
    ]
    distance = front[0][1]
    canvas.polygon(top, light.lit(scaled(leaves, 1.15), (0, 1, 0), distance), Label.VEGETATION)
    lumps = int(face.length * (3 if distance < 30 else 1))
    for _ in range(lumps):
        along, up = dice.between(0.1, face.length - 0.1), dice.between(0.1, height - 0.05)
        point = face.at(along, up)
        if point[2] < 1.5:
            continue
        shade = 0.7 + 0.5 * up / height
        size = canvas.camera.scale(point[2]) * dice.between(0.05, 0.14)
        canvas.disc(canvas.camera.project(point), size, face.colour(scaled(leaves, shade), point[2]))


def draw_wall(canvas: Canvas, light: Light, dice: Dice, front: tuple[Pixel, Pixel], height: float) -> None:
    """A garden wall of brick, stone or concrete along the pavement."""
    face = Face(canvas, light, *front)
    brick: RGB = dice.pick(((0.55, 0.33, 0.26), (0.60, 0.36, 0.22), (0.60, 0.56, 0.50), (0.68, 0.60, 0.46)))
    brick = wobble(brick, dice, 0.03)
    face.box((0, face.length), (0, height), brick, Label.BUILDING)
    courses = max(3, int(height / 0.24))
    for k in range(1, courses):
        up = height * k / courses
        face.box((0, face.length), (up, up + 0.025), scaled(brick, 0.7))
        along = 0.3 if k % 2 else 0.6
        while along < face.length and front[0][1] < 25:
            if face.at(along, 0)[2] < 22:
                face.box((along, along + 0.03), (up - height / courses, up), scaled(brick, 0.72))
            along += 0.6
    cap = [
        face.at(0, height),
        face.at(face.length, height),
        face.at(face.length, height, -0.35),
        face.at(0, height, -0.35),
    ]
    canvas.polygon(cap, light.lit(scaled(brick, 1.15), (0, 1, 0), front[0][1]), Label.BUILDING)
    face.box((0, face.length), (height - 0.1, height + 0.06), scaled(brick, 1.18), Label.BUILDING, out=0.05)
    spacing = 3.6
    along = 0.0
    while along < face.length:
        face.box(
            (along, min(along + 0.45, face.length)), (0, height + 0.22), scaled(brick, 0.78), Label.BUILDING, out=0.08
        )
        along += spacing
