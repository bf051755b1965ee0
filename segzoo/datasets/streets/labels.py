"""The classes of the drawn streets: named as in Cityscapes where Cityscapes has the class."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Label"]


class Label(IntEnum):
    """Value of a class in a drawn label map; names and colours are those of ``model_index/datasets.yaml``."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    POLE = 3
    TRAFFIC_LIGHT = 4
    TRAFFIC_SIGN = 5
    VEGETATION = 6
    TERRAIN = 7
    SKY = 8
    PERSON = 9
    CAR = 10
    BUS = 11
    BICYCLE = 12

    @property
    def title(self) -> str:
        """The class's name as the index spells it."""
        return self.name.lower().replace("_", " ")
