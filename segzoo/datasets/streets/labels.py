"""The classes of the drawn streets: named as in Cityscapes where Cityscapes has the class."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Label"]


class Label(IntEnum):
    """Value of a class in a drawn label map; names and colours are those of ``model_index/datasets.yaml``."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    POLE = 4
    TRAFFIC_LIGHT = 5
    TRAFFIC_SIGN = 6
    VEGETATION = 7
    TERRAIN = 8
    SKY = 9
    PERSON = 10
    CAR = 11
    BUS = 12
    BICYCLE = 13

    @property
    def title(self) -> str:
        """The class's name as the index spells it."""
        return self.name.lower().replace("_", " ")
