"""The sky, and what closes the far end of a street: hills, a skyline, a line of trees."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from segzoo.datasets.streets.canvas import SUPERSAMPLING, Canvas
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import RGB, Light, wobble

__all__ = ["draw_backdrop", "draw_sky", "value_noise"]

COARSE = 2  # the sky is computed on every second pixel of the picture and enlarged smoothly


def value_noise(dice: Dice, height: int, width: int, cells: tuple[int, ...]) -> np.ndarray:
    """Smooth noise of mean near 0.5, float32 (height, width): octaves of the given cells across the width."""
    total = np.zeros((height, width), np.float32)
    weights = 0.0
    for octave, across in enumerate(cells):
        across = min(across, width)
        down = max(2, min(height, round(across * height / width)))
        grid = Image.fromarray(dice.grey(down, across))
        weight = 0.5**octave
        total += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        weights += weight
    return total / (255.0 * weights)


def draw_sky(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Fill the picture with sky: a gradient, the sun's glow and clouds in perspective."""
    step = SUPERSAMPLING * COARSE
    camera = canvas.camera
    rows = np.arange(0, canvas.picture.height, step, dtype=np.float32)[:, None]
    columns = np.arange(0, canvas.picture.width, step, dtype=np.float32)[None, :]
    right = (columns - camera.centre) / camera.focal
    up = (camera.horizon - rows) / camera.focal
    length = np.sqrt(right**2 + up**2 + 1)
    elevation = np.maximum(up / length, 0)
    rise = np.clip(elevation / 0.42, 0, 1)[..., None] ** 0.65
    sky = np.asarray(light.horizon, np.float32) * (1 - rise) + np.asarray(light.zenith, np.float32) * rise
    angle = (right * light.sun[0] + up * light.sun[1] + light.sun[2]) / length
    sky = sky + sun_glow(angle, light)
    sky = add_clouds(sky, elevation, right / length, light, dice)
    small = Image.fromarray((np.clip(sky, 0, 1) * 255).astype(np.uint8))
    canvas.picture.paste(small.resize(canvas.picture.size, Image.Resampling.BILINEAR))


def sun_glow(angle: np.ndarray, light: Light) -> np.ndarray:
    """The light around the sun, from the cosine of the angle to it."""
    strength = 0.9 * np.exp((angle - 1) * 900) + 0.30 * np.exp((angle - 1) * 28) + 0.12 * np.exp((angle - 1) * 5)
    if light.clouds > 0.7:
        strength = strength * 0.15
    return strength[..., None] * np.asarray(light.sunshine, np.float32)


def add_clouds(sky: np.ndarray, elevation: np.ndarray, side: np.ndarray, light: Light, dice: Dice) -> np.ndarray:
    """Lay a sheet of clouds, seen from below, over the sky."""
    size = 256
    sheet = value_noise(dice, size, size, (5, 10, 20, 40, 80))
    stretch = dice.between(26, 48)
    far = 1.0 / (elevation + 0.09)
    u = mirrored(side * far * stretch + dice.between(0, size), size)
    v = far * stretch * 0.9
    density = sheet[mirrored(v, size), u]
    toward = sheet[mirrored(v - 5, size), u]
    threshold = 0.68 - 0.34 * light.clouds
    cover = np.clip((density - threshold) / 0.16, 0, 1)
    cover = (cover * cover * (3 - 2 * cover) * np.clip(elevation / 0.05, 0, 1))[..., None]
    shade = np.clip(0.62 + (density - toward) * 2.5 - (density - threshold) * 0.9, 0, 1)[..., None]
    bright = np.minimum(np.asarray(light.ambient, np.float32) + np.asarray(light.sunshine, np.float32) * 0.75, 1)
    bright = bright * 0.7 + np.asarray(light.horizon, np.float32) * 0.3
    dark = np.asarray(light.zenith, np.float32) * 0.35 + bright * 0.5
    clouds: np.ndarray = sky * (1 - 0.88 * cover) + 0.88 * cover * (dark * (1 - shade) + bright * shade)
    return clouds


def mirrored(position: np.ndarray, size: int) -> np.ndarray:
    """Whole indices into a sheet that is laid again and again, every second time mirrored, so that no seam shows."""
    folded = np.abs(position % (2 * size) - size)
    return np.minimum(folded, size - 1).astype(np.intp)


def draw_backdrop(canvas: Canvas, light: Light, dice: Dice) -> None:
    """Close the end of the street, at the horizon."""
    kind = dice.pick(("hills", "skyline", "trees", "skyline"))
    if dice.chance(0.6):
        ridge(canvas, light, dice, (0.20, 0.34, 0.24), height=dice.between(10, 34), distance=420)
    if kind == "skyline":
        skyline(canvas, light, dice, distance=300)
        skyline(canvas, light, dice, distance=210)
    elif kind == "hills":
        ridge(canvas, light, dice, (0.24, 0.38, 0.20), height=dice.between(12, 24), distance=260)
    treeline(canvas, light, dice, distance=170)


def ridge(canvas: Canvas, light: Light, dice: Dice, albedo: RGB, *, height: float, distance: float) -> None:
    """A wooded ridge across the whole view."""
    scale = canvas.camera.scale(distance)
    base = canvas.camera.horizon + canvas.camera.height * scale
    colour = light.lit(wobble(albedo, dice), (0, 1, 0), distance * 0.6)
    waves = [(dice.between(60, 150) / k, dice.between(0, 6.3), 1.0 / k) for k in (1, 2, 4, 8)]
    outline = [(canvas.picture.width * 1.0, base + 4 * scale), (0.0, base + 4 * scale)]
    for i in range(65):
        u = canvas.picture.width * i / 64
        x = u / scale
        swell = sum(a * math.sin(x / length + phase) for length, phase, a in waves)
        outline.append((u, base - max(0.25, 0.62 + 0.3 * swell) * height * scale))
    canvas.shape(outline, colour, Label.VEGETATION)


def skyline(canvas: Canvas, light: Light, dice: Dice, *, distance: float) -> None:
    """Towers in the haze."""
    scale = canvas.camera.scale(distance)
    base = canvas.camera.horizon + canvas.camera.height * scale
    u = -10.0 * scale
    while u < canvas.picture.width:
        width, height = dice.between(8, 24) * scale, dice.between(7, 34) ** 1.05 * scale
        grey = dice.between(0.42, 0.66)
        albedo = wobble((grey, grey, grey * 1.04), dice, 0.04)
        colour = light.lit(albedo, (0, 0.3, -0.9), distance * 0.55)
        canvas.shape(
            [(u, base), (u, base - height), (u + width, base - height), (u + width, base)], colour, Label.BUILDING
        )
        side = light.lit((grey * 0.8, grey * 0.8, grey * 0.86), (0, 0.3, -0.9), distance * 0.55)
        edge = u + width * dice.between(0.6, 0.85)
        canvas.shape([(edge, base), (edge, base - height), (u + width, base - height), (u + width, base)], side)
        u += width * dice.between(0.8, 1.5)


def treeline(canvas: Canvas, light: Light, dice: Dice, *, distance: float) -> None:
    """A row of distant trees that hides where the ground ends."""
    scale = canvas.camera.scale(distance)
    base = canvas.camera.horizon + canvas.camera.height * scale
    width = canvas.picture.width
    tint = dice.between(-0.03, 0.05)
    for layer, shade in ((1.0, 0.85), (0.7, 1.0)):
        colour = light.lit((0.25 * shade + tint, 0.36 * shade, 0.19 * shade), (0, 1, 0), distance * 0.65)
        u = 0.0
        while u < width + 6 * scale:
            radius = dice.between(2.0, 4.6) * scale * layer
            canvas.disc((u, base - radius * 0.6), (radius, radius), colour, Label.VEGETATION)
            u += radius * dice.between(0.5, 1.1)
        canvas.shape(
            [(0, base - 0.6 * scale), (width, base - 0.6 * scale), (width, base + scale), (0, base + scale)],
            colour,
            Label.VEGETATION,
        )
