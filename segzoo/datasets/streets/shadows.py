"""The shadows on the ground, and the two pieces of plane geometry they need."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from segzoo.datasets.streets.canvas import SUPERSAMPLING, Canvas, Pixel, clip
from segzoo.datasets.streets.light import Light

__all__ = ["Shadows", "turn"]


class Shadows:
    """Collects the shadows on the ground and then darkens the picture by them, softly."""

    def __init__(self, canvas: Canvas, light: Light) -> None:
        self.canvas, self.light = canvas, light
        size = (canvas.width, canvas.height)
        self.cast, self.contact = Image.new("L", size), Image.new("L", size)
        self._cast, self._contact = ImageDraw.Draw(self.cast), ImageDraw.Draw(self.contact)
        reach = 1.0 / max(light.sun[1], 0.16)
        self.offset = (-light.sun[0] * reach, -light.sun[2] * reach)  # metres of shadow per metre of height

    def under(self, corners: Sequence[Pixel], height: float) -> None:
        """The shadow of an upright body on the footprint `corners` (right, ahead), `height` metres tall."""
        dx, dz = self.offset[0] * height, self.offset[1] * height
        moved = [(x + dx, z + dz) for x, z in corners]
        self._fill(self._cast, hull([*corners, *moved]), 255)

    def crown(self, x: float, z: float, height: float, radius: float) -> None:
        """The shadow of a tree's crown whose middle is `height` metres up."""
        cx, cz = x + self.offset[0] * height, z + self.offset[1] * height
        ring = [(cx + radius * math.cos(a), cz + radius * math.sin(a)) for a in turn(12)]
        self._fill(self._cast, ring, 235)

    def touch(self, corners: Sequence[Pixel], strength: int = 255) -> None:
        """The dim place right under a body, whatever the light."""
        self._fill(self._contact, corners, strength)

    def _fill(self, draw: ImageDraw.ImageDraw, corners: Sequence[Pixel], value: int) -> None:
        points = clip([(x, 0.0, z) for x, z in corners])
        if len(points) < 3:
            return
        pixels = [self.canvas.camera.project(point) for point in points]
        draw.polygon([(u / SUPERSAMPLING, v / SUPERSAMPLING) for u, v in pixels], fill=value)

    def develop(self) -> None:
        """Darken the picture as it is now (the ground) by the shadows collected."""
        soft = max(self.canvas.width / 700, 0.4)
        cast = self.cast.filter(ImageFilter.GaussianBlur(soft * (3.0 if self.light.clouds > 0.7 else 0.8)))
        contact = self.contact.filter(ImageFilter.GaussianBlur(soft * 2.2))
        cast = cast.point([int(v * self.light.shadow) for v in range(256)])
        contact = contact.point([int(v * 0.5) for v in range(256)])
        both = ImageChops.lighter(cast, contact).resize(self.canvas.picture.size, Image.Resampling.BILINEAR)
        ambient = self.light.ambient
        tint = tuple(int(60 * value) for value in ambient)
        self.canvas.picture.paste(Image.new("RGB", self.canvas.picture.size, tint), mask=both)


def hull(points: Sequence[Pixel]) -> list[Pixel]:
    """The convex outline of some points (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return list(ordered)
    halves: list[list[Pixel]] = []
    for run in (ordered, ordered[::-1]):
        chain: list[Pixel] = []
        for p in run:
            while len(chain) > 1 and cross(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        halves.append(chain[:-1])
    return halves[0] + halves[1]


def cross(o: Pixel, a: Pixel, b: Pixel) -> float:
    """Twice the signed area of the triangle o, a, b."""
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])


def turn(steps: int) -> list[float]:
    """Angles once around."""
    return [2 * math.pi * i / steps for i in range(steps)]
