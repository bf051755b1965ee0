"""A camera and the two sheets it draws on: the picture and its label map, always with the same strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from segzoo.datasets.streets.labels import Label

__all__ = ["SUPERSAMPLING", "Camera", "Canvas", "Colour", "Point"]

Point = tuple[float, float, float]  # metres: right, up, ahead
Pixel = tuple[float, float]
Colour = tuple[int, ...]  # red, green, blue and perhaps opacity, 0 to 255

SUPERSAMPLING = 3  # odd, so that every pixel of the label map has a centre sample
NEAR = 1.0  # metres: nothing is drawn closer to the camera than this


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the road, looking along +z.

    Args:
        focal: focal length in supersampled pixels.
        centre: column of the vanishing point of +z.
        horizon: row of the horizon.
        height: metres above the road.
        roll: radians, clockwise.
    """

    focal: float
    centre: float
    horizon: float
    height: float
    roll: float

    def project(self, point: Point) -> Pixel:
        """Where a point at least `NEAR` metres ahead falls, in supersampled pixels (column, row)."""
        x, y, z = point
        du = self.focal * x / z
        dv = self.focal * (self.height - y) / z
        return self.centre + du - self.roll * dv, self.horizon + dv + self.roll * du

    def scale(self, z: float) -> float:
        """Supersampled pixels per metre at a distance."""
        return self.focal / max(z, NEAR)


class Canvas:
    """A picture and a label map of (height, width) pixels, drawn on three times as finely.

    `label=None` draws detail: it changes the picture but leaves the class below as it is.
    """

    def __init__(self, size: tuple[int, int], camera: Camera) -> None:
        self.height, self.width = size
        self.camera = camera
        fine = (self.width * SUPERSAMPLING, self.height * SUPERSAMPLING)
        self.picture = Image.new("RGB", fine)
        self.labels = Image.new("L", fine, int(Label.SKY))
        self._picture = ImageDraw.Draw(self.picture, "RGBA")
        self._labels = ImageDraw.Draw(self.labels)
        self.glows: list[tuple[float, float, float, Colour]] = []

    def shape(self, pixels: Sequence[Pixel], colour: Colour, label: Label | None = None) -> None:
        """Fill a polygon given in supersampled pixels."""
        if len(pixels) < 3 or self._outside(pixels):
            return
        self._picture.polygon(pixels, fill=colour)
        if label is not None:
            self._labels.polygon(pixels, fill=int(label))

    def _outside(self, pixels: Sequence[Pixel]) -> bool:
        """Whether nothing of a polygon can be seen; most of a street is beside the picture."""
        columns, rows = [u for u, _ in pixels], [v for _, v in pixels]
        width, height = self.picture.size
        return max(columns) < -1 or min(columns) > width or max(rows) < -1 or min(rows) > height

    def polygon(self, points: Sequence[Point], colour: Colour, label: Label | None = None) -> None:
        """Fill a flat polygon given in metres, clipped where it comes behind the camera."""
        project = self.camera.project
        self.shape([project(point) for point in clip(points)], colour, label)

    def faces_camera(self, points: Sequence[Point]) -> bool:
        """Whether the corners run clockwise as the camera sees them (the front of a face)."""
        pixels = [self.camera.project(point) for point in clip(points)]
        return signed_area(pixels) > 0

    def disc(self, centre: Pixel, radius: float | Pixel, colour: Colour, label: Label | None = None) -> None:
        """Fill an ellipse with upright axes, in supersampled pixels."""
        rx, ry = radius if isinstance(radius, tuple) else (radius, radius)
        box = (centre[0] - rx, centre[1] - ry, centre[0] + rx, centre[1] + ry)
        if box[2] < 0 or box[3] < 0 or box[0] > self.picture.width or box[1] > self.picture.height:
            return
        self._picture.ellipse(box, fill=colour)
        if label is not None:
            self._labels.ellipse(box, fill=int(label))

    def limb(self, start: Pixel, end: Pixel, radii: Pixel, colour: Colour, label: Label | None = None) -> None:
        """Fill a rounded, tapering stroke, in supersampled pixels."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length, dx / length
        (r0, r1), (x0, y0), (x1, y1) = radii, start, end
        outline = [
            (x0 + nx * r0, y0 + ny * r0),
            (x1 + nx * r1, y1 + ny * r1),
            (x1 - nx * r1, y1 - ny * r1),
            (x0 - nx * r0, y0 - ny * r0),
        ]
        self.shape(outline, colour, label)
        self.disc(start, r0, colour, label)
        self.disc(end, r1, colour, label)

    def glow(self, centre: Pixel, radius: float, colour: Colour) -> None:
        """Remember a light source; its halo is added when the picture is developed."""
        self.glows.append((centre[0], centre[1], radius, colour))

    def local(self, x: float, y: float, z: float, yaw: float = 0.0) -> Board:
        """An upright board standing at a point and facing the camera, turned by `yaw` radians."""
        return Board(self, x, y, z, math.cos(yaw))

    def label_map(self) -> np.ndarray:
        """The label map, uint8 (height, width): the centre sample of each pixel."""
        fine = np.asarray(self.labels)
        return fine[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING].copy()


@dataclass(frozen=True)
class Board:
    """Flat drawing in metres on an upright board: x to the right and y upwards from its foot."""

    canvas: Canvas
    x: float
    y: float
    z: float
    squeeze: float = 1.0

    def at(self, x: float, y: float) -> Pixel:
        """The supersampled pixel of a point on the board."""
        return self.canvas.camera.project((self.x + x * self.squeeze, self.y + y, max(self.z, NEAR)))

    def metres(self, length: float) -> float:
        """A length in supersampled pixels."""
        return length * self.canvas.camera.scale(self.z)

    def shape(self, points: Sequence[Pixel], colour: Colour, label: Label | None = None) -> None:
        """Fill a polygon."""
        self.canvas.shape([self.at(x, y) for x, y in points], colour, label)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, label: Label | None = None) -> None:
        """Fill a rectangle."""
        self.shape([(x0, y0), (x0, y1), (x1, y1), (x1, y0)], colour, label)

    def disc(self, x: float, y: float, radius: float | Pixel, colour: Colour, label: Label | None = None) -> None:
        """Fill a disc, or an ellipse where the radius is a pair."""
        rx, ry = radius if isinstance(radius, tuple) else (radius, radius)
        pixels = (self.metres(rx) * abs(self.squeeze), self.metres(ry))
        self.canvas.disc(self.at(x, y), pixels, colour, label)

    def limb(self, start: Pixel, end: Pixel, radii: Pixel, colour: Colour, label: Label | None = None) -> None:
        """Fill a rounded, tapering stroke."""
        widths = (self.metres(radii[0]), self.metres(radii[1]))
        self.canvas.limb(self.at(*start), self.at(*end), widths, colour, label)


def clip(points: Sequence[Point]) -> list[Point]:
    """The part of a polygon at least `NEAR` metres ahead (Sutherland and Hodgman's rule for one plane)."""
    if all(point[2] >= NEAR for point in points):
        return list(points)
    kept: list[Point] = []
    before = points[-1]
    for point in points:
        if (point[2] >= NEAR) != (before[2] >= NEAR):
            share = (NEAR - before[2]) / (point[2] - before[2])
            x = before[0] + share * (point[0] - before[0])
            kept.append((x, before[1] + share * (point[1] - before[1]), NEAR))
        if point[2] >= NEAR:
            kept.append(point)
        before = point
    return kept


def signed_area(pixels: Sequence[Pixel]) -> float:
    """Twice the area of a polygon, positive when its corners run clockwise on the screen."""
    total = 0.0
    before = pixels[-1] if pixels else (0.0, 0.0)
    for point in pixels:
        total += before[0] * point[1] - point[0] * before[1]
        before = point
    return total
