"""Times of day and weather: the sun, the sky's colours and the haze that carries distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from segzoo.datasets.streets.canvas import Colour, Point
from segzoo.datasets.streets.dice import Dice

__all__ = ["Light", "choose_light"]

RGB = tuple[float, float, float]  # 0 to 1


@dataclass(frozen=True)
class Light:
    """What lights a scene. Colours are 0 to 1.

    Attributes:
        sun: direction towards the sun, unit length (right, up, ahead).
        sunshine: colour and strength of direct light.
        ambient: colour and strength of light from all around.
        zenith, horizon: colours of the sky; haze is what far things fade to.
        clearness: metres over which the haze takes 63 % of a colour.
        clouds: share of the sky that is covered.
        lamps: whether street lamps, headlights and windows are lit.
        shadow: how much of the light a shadow on the ground takes, 0 to 1.
    """

    name: str
    sun: Point
    sunshine: RGB
    ambient: RGB
    zenith: RGB
    horizon: RGB
    haze: RGB
    clearness: float
    clouds: float
    lamps: bool
    shadow: float

    def lit(self, albedo: RGB, normal: Point = (0.0, 1.0, 0.0), distance: float = 0.0) -> Colour:
        """The colour (0 to 255) of a matt surface of that albedo and normal, seen from a distance in metres."""
        facing = normal[0] * self.sun[0] + normal[1] * self.sun[1] + normal[2] * self.sun[2]
        facing = max(facing, 0.0)
        sky = 0.82 + 0.18 * normal[1]
        clear = math.exp(-max(distance, 0.0) / self.clearness)
        shown = []
        for i in range(3):
            reflected = albedo[i] * (self.ambient[i] * sky + self.sunshine[i] * facing)
            shown.append(int(255 * min(reflected * clear + self.haze[i] * (1 - clear), 1.0)))
        return tuple(shown)

    def glowing(self, colour: RGB, distance: float = 0.0) -> Colour:
        """The colour (0 to 255) of something that gives light itself."""
        clear = math.exp(-max(distance, 0.0) / (2 * self.clearness))
        red, green, blue = (int(255 * min(colour[i] * clear + self.haze[i] * (1 - clear), 1.0)) for i in range(3))
        return red, green, blue


class Kind(NamedTuple):
    """Ranges and colours of one kind of light; see `Light`. `elevation` of the sun is in radians."""

    name: str
    elevation: tuple[float, float]
    sunshine: RGB
    ambient: RGB
    zenith: RGB
    horizon: RGB
    haze: RGB
    clearness: tuple[float, float]
    clouds: tuple[float, float]
    lamps: bool
    shadow: float


DAY = Kind(
    name="day",
    elevation=(0.75, 1.15),
    sunshine=(0.66, 0.62, 0.54),
    ambient=(0.50, 0.54, 0.60),
    zenith=(0.20, 0.45, 0.80),
    horizon=(0.74, 0.86, 0.95),
    haze=(0.72, 0.82, 0.91),
    clearness=(150, 320),
    clouds=(0.05, 0.55),
    lamps=False,
    shadow=0.46,
)
MORNING = Kind(
    name="morning",
    elevation=(0.35, 0.6),
    sunshine=(0.74, 0.64, 0.46),
    ambient=(0.46, 0.50, 0.56),
    zenith=(0.36, 0.56, 0.80),
    horizon=(0.97, 0.90, 0.78),
    haze=(0.92, 0.87, 0.79),
    clearness=(80, 170),
    clouds=(0.05, 0.45),
    lamps=False,
    shadow=0.40,
)
GOLDEN = Kind(
    name="golden",
    elevation=(0.18, 0.38),
    sunshine=(0.88, 0.58, 0.30),
    ambient=(0.42, 0.40, 0.45),
    zenith=(0.27, 0.38, 0.64),
    horizon=(0.99, 0.76, 0.48),
    haze=(0.95, 0.73, 0.52),
    clearness=(90, 200),
    clouds=(0.1, 0.5),
    lamps=False,
    shadow=0.42,
)
DUSK = Kind(
    name="dusk",
    elevation=(0.05, 0.12),
    sunshine=(0.18, 0.12, 0.14),
    ambient=(0.43, 0.43, 0.56),
    zenith=(0.10, 0.13, 0.33),
    horizon=(0.80, 0.52, 0.52),
    haze=(0.42, 0.37, 0.48),
    clearness=(90, 200),
    clouds=(0.1, 0.5),
    lamps=True,
    shadow=0.12,
)
OVERCAST = Kind(
    name="overcast",
    elevation=(0.8, 1.2),
    sunshine=(0.10, 0.10, 0.10),
    ambient=(0.76, 0.78, 0.81),
    zenith=(0.60, 0.66, 0.73),
    horizon=(0.84, 0.86, 0.88),
    haze=(0.80, 0.83, 0.86),
    clearness=(60, 150),
    clouds=(0.75, 1.0),
    lamps=False,
    shadow=0.16,
)


def choose_light(dice: Dice) -> Light:
    """One of five kinds of light, each a little different every time."""
    kind = dice.pick((DAY, DAY, MORNING, GOLDEN, DUSK, OVERCAST))
    side = 1.0 if dice.chance(0.5) else -1.0
    azimuth = side * dice.between(0.25, 2.6)  # 0 is straight ahead
    strength = dice.between(0.92, 1.08)
    elevation = dice.between(*kind.elevation)
    flat = math.cos(elevation)
    return Light(
        name=kind.name,
        sun=(flat * math.sin(azimuth), math.sin(elevation), flat * math.cos(azimuth)),
        sunshine=scaled(kind.sunshine, strength),
        ambient=scaled(kind.ambient, strength),
        zenith=wobble(kind.zenith, dice),
        horizon=wobble(kind.horizon, dice),
        haze=kind.haze,
        clearness=dice.between(*kind.clearness),
        clouds=dice.between(*kind.clouds),
        lamps=kind.lamps,
        shadow=kind.shadow,
    )


def scaled(colour: RGB, factor: float) -> RGB:
    """A brighter or darker colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def wobble(colour: RGB, dice: Dice, amount: float = 0.03) -> RGB:
    """A neighbouring colour, each channel moved by up to `amount`."""
    red, green, blue = (min(max(value + dice.between(-amount, amount), 0.0), 1.0) for value in colour)
    return red, green, blue
