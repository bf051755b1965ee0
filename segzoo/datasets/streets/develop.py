"""From a drawing to a photograph: halos, surface texture, exposure, lens and sensor."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from segzoo.datasets.streets.canvas import SUPERSAMPLING, Canvas
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import Light
from segzoo.datasets.streets.sky import value_noise

__all__ = ["develop"]

GRAIN = {  # how rough a surface is: strength of the fine and of the broad texture
    Label.ROAD: (0.055, 0.16),
    Label.SIDEWALK: (0.045, 0.12),
    Label.BUILDING: (0.030, 0.08),
    Label.VEGETATION: (0.090, 0.13),
    Label.TERRAIN: (0.110, 0.20),
    Label.CAR: (0.008, 0.02),
    Label.BUS: (0.008, 0.02),
    Label.SKY: (0.0, 0.0),
}
PLAIN = (0.02, 0.03)


def develop(canvas: Canvas, labels: np.ndarray, light: Light, dice: Dice) -> np.ndarray:
    """The finished picture, uint8 (height, width, 3)."""
    picture = np.asarray(canvas.picture.reduce(SUPERSAMPLING), np.float32)
    picture = picture * texture(canvas, labels, dice)[..., None]
    if canvas.glows:
        light_up(picture, canvas)
    picture = expose(picture / 255.0, dice)
    soft = dice.between(0.15, 0.65) * canvas.width / 1024
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    if soft > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(soft))
    strength = dice.between(0.8, 3.2) + (2.2 if light.lamps else 0.0)
    noise = dice.normal(canvas.height, canvas.width, 1) * strength
    noisy = np.asarray(image, np.float32) + noise
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def texture(canvas: Canvas, labels: np.ndarray, dice: Dice) -> np.ndarray:
    """What the surfaces' roughness multiplies the picture by, float32 (height, width)."""
    height, width = labels.shape
    fine = value_noise(dice, height, width, (max(width // 2, 8), max(width // 5, 8))) - 0.5
    broad = value_noise(dice, height, width, (9, 24, 60)) - 0.5
    table = np.array([GRAIN.get(label, PLAIN) for label in Label], np.float32)
    strength = table[labels]
    factor: np.ndarray = 1.0 + 2.0 * strength[..., 0] * fine + 2.0 * strength[..., 1] * broad
    return factor


def light_up(picture: np.ndarray, canvas: Canvas) -> None:
    """Add the halos of lamps to a picture (0 to 255), in place."""
    step = 4
    size = (-(-canvas.width // step), -(-canvas.height // step))
    halo = Image.new("RGB", size)
    draw = ImageDraw.Draw(halo)
    scale = 1.0 / (SUPERSAMPLING * step)
    for u, v, radius, colour in canvas.glows:
        r = min(max(radius * scale, 0.6), size[1] / 14)
        draw.ellipse((u * scale - r, v * scale - r, u * scale + r, v * scale + r), fill=colour)
    total = np.zeros((canvas.height, canvas.width, 3), np.float32)
    for reach, strength in ((0.004, 0.45), (0.028, 0.55)):
        blurred = halo.filter(ImageFilter.GaussianBlur(max(reach * size[0], 0.5)))
        wide = blurred.resize((canvas.width, canvas.height), Image.Resampling.BILINEAR)
        total += strength * np.asarray(wide, np.float32)
    picture += total * (1 - picture / 255.0).clip(0, 1)


def expose(picture: np.ndarray, dice: Dice) -> np.ndarray:
    """Exposure, contrast, colour and the darker corners of a lens; the picture is 0 to 1."""
    height, width, _ = picture.shape
    gain, contrast = dice.between(0.94, 1.14), dice.between(0.15, 0.5)
    warmth, saturation = dice.between(-0.025, 0.035), dice.between(0.98, 1.2)
    picture = np.clip(picture * gain, 0, 1)
    curved = picture * picture * (3 - 2 * picture)
    picture = picture + contrast * (curved - picture)
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + saturation * (picture - grey)
    picture = picture * np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    vignette = 1 - dice.between(0.03, 0.12) * (across + down)
    developed: np.ndarray = picture * vignette[..., None]
    return developed
