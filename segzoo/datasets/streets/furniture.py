"""What stands on the pavement: lamps, sign posts and traffic lights."""

from __future__ import annotations

from segzoo.datasets.streets.canvas import Board, Canvas, Pixel
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, scaled
from segzoo.datasets.streets.signs import FRONT, KINDS, draw_plate

__all__ = ["draw_lamp", "draw_sign", "draw_traffic_light"]

Foot = tuple[float, float, float]  # right, up, ahead
STEEL: RGB = (0.42, 0.44, 0.45)


def draw_lamp(canvas: Canvas, light: Light, foot: Foot, side: int, height: float, painted: RGB) -> None:
    """A street lamp whose arm reaches over the carriageway; `side` is -1 on the left, 1 on the right."""
    board = canvas.local(*foot)
    colour, bright = light.lit(painted, FRONT, foot[2]), light.lit(scaled(painted, 1.5), FRONT, foot[2])
    board.box(-0.20, 0, 0.20, 0.9, colour, Label.POLE)
    board.limb((0, 0.5), (0, height), (0.17, 0.12), colour, Label.POLE)
    board.limb((-0.04, 0.9), (-0.03, height), (0.03, 0.02), bright)
    reach = -side * 1.9
    board.limb((0, height), (reach * 0.45, height + 0.42), (0.12, 0.11), colour, Label.POLE)
    board.limb((reach * 0.45, height + 0.42), (reach, height + 0.5), (0.11, 0.10), colour, Label.POLE)
    board.limb((reach * 0.8, height + 0.44), (reach * 1.25, height + 0.46), (0.13, 0.13), colour, Label.POLE)
    if light.lamps:
        glass = (reach * 1.03, height + 0.36)
        board.disc(*glass, (0.34, 0.1), light.glowing((1.0, 0.93, 0.74), foot[2]), Label.POLE)
        canvas.glow(board.at(*glass), board.metres(0.6), (255, 206, 128))


def draw_sign(canvas: Canvas, light: Light, dice: Dice, foot: Foot) -> None:
    """A post with one or two signs."""
    board = canvas.local(*foot)
    height = dice.between(2.4, 2.9)
    board.limb((0, 0), (0, height), (0.10, 0.10), light.lit(STEEL, FRONT, foot[2]), Label.POLE)
    size = dice.between(0.46, 0.62)
    draw_plate(board, light, dice, dice.pick(KINDS), height, size)
    if dice.chance(0.35):
        small = dice.pick(("limit", "parking", "turn"))
        draw_plate(board, light, dice, small, height - 2.15 * size, size * 0.85)


def draw_traffic_light(canvas: Canvas, light: Light, foot: Foot, side: int, shown: int, arm: bool) -> None:
    """A traffic light; `shown` is 0 for red, 1 for amber, 2 for green. An arm hangs a second one over the road."""
    board = canvas.local(*foot)
    steel = light.lit((0.30, 0.32, 0.33), FRONT, foot[2])
    height = 5.6 if arm else 3.0
    board.limb((0, 0), (0, height), (0.12, 0.10), steel, Label.POLE)
    if arm:
        reach = -side * 3.6
        board.limb((0, height), (reach, height + 0.1), (0.10, 0.08), steel, Label.POLE)
        housing(board, light, (reach, height - 0.35), shown, 1.15)
    housing(board, light, (-side * 0.05, 2.75), shown, 1.0)


def housing(board: Board, light: Light, middle: Pixel, shown: int, scale: float) -> None:
    """The box with its three lamps."""
    x, y = middle
    half, tall = 0.27 * scale, 0.72 * scale
    board.box(
        x - half - 0.06,
        y - tall - 0.06,
        x + half + 0.06,
        y + tall + 0.06,
        light.lit((0.80, 0.78, 0.70), FRONT, board.z),
        Label.TRAFFIC_LIGHT,
    )
    board.box(x - half, y - tall, x + half, y + tall, light.lit((0.07, 0.08, 0.08), FRONT, board.z))
    hues: tuple[RGB, ...] = ((1.0, 0.16, 0.10), (1.0, 0.70, 0.10), (0.16, 0.95, 0.50))
    for k, hue in enumerate(hues):
        at = (x, y + (1 - k) * 0.46 * scale)
        if k == shown:
            board.disc(*at, 0.185 * scale, light.glowing(hue, board.z))
            board.disc(at[0], at[1] + 0.03, 0.09 * scale, light.glowing((1, 0.95, 0.85), board.z))
            red, green, blue = (int(255 * value) for value in hue)
            board.canvas.glow(board.at(*at), board.metres(0.3), (red, green, blue))
        else:
            board.disc(*at, 0.18 * scale, light.lit(scaled(hue, 0.22), FRONT, board.z))
