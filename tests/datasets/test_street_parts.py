"""The parts of the street drawing against hand-made geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segzoo.datasets.streets.canvas import NEAR, SUPERSAMPLING, Camera, Canvas, clip, signed_area
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.ground import choose_plan
from segzoo.datasets.streets.labels import Label
from segzoo.datasets.streets.light import Light, choose_light
from segzoo.datasets.streets.shadows import hull
from segzoo.datasets.streets.vehicles import choose_bus, choose_car

LEVEL = Camera(focal=90.0, centre=60.0, horizon=45.0, height=1.5, roll=0.0)


def canvas() -> Canvas:
    return Canvas((30, 40), LEVEL)


def test_projection_by_hand() -> None:
    assert LEVEL.project((1.0, 0.0, 9.0)) == (70.0, 60.0)
    assert LEVEL.project((0.0, 1.5, 50.0)) == (60.0, 45.0)
    assert LEVEL.scale(9.0) == 10.0


def test_clip_cuts_at_the_near_plane() -> None:
    square = [(0.0, 0.0, -1.0), (0.0, 0.0, 3.0), (2.0, 0.0, 3.0), (2.0, 0.0, -1.0)]
    kept = clip(square)
    assert {point[2] for point in kept} == {NEAR, 3.0}
    assert {point[0] for point in kept} == {0.0, 2.0}
    assert len(kept) == 4
    assert clip([(0.0, 0.0, -1.0), (1.0, 0.0, -2.0), (1.0, 1.0, 0.5)]) == []


def test_signed_area_and_hull() -> None:
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
    assert signed_area(square) == 8.0
    assert signed_area(square[::-1]) == -8.0
    assert sorted(hull([*square, (1.0, 1.0), (1.0, 0.0)])) == sorted(square)


def test_label_is_the_class_at_the_centre_of_each_pixel() -> None:
    sheet = canvas()
    # Supersampled columns 4 to 8 hold the centres (1 + 3k) of pixels 1 (4) and 2 (7); rows 3 to 6 that of pixel 1.
    sheet.shape([(4, 3), (8, 3), (8, 6), (4, 6)], (255, 0, 0), Label.CAR)
    labels = sheet.label_map()
    assert labels.shape == (30, 40)
    expected = np.full((30, 40), int(Label.SKY), np.uint8)
    expected[1, 1:3] = int(Label.CAR)
    np.testing.assert_array_equal(labels, expected)
    assert SUPERSAMPLING % 2 == 1


def test_detail_leaves_the_class_below() -> None:
    sheet = canvas()
    sheet.shape([(0, 0), (60, 0), (60, 60), (0, 60)], (10, 20, 30), Label.BUILDING)
    before = sheet.label_map()
    sheet.disc((20.0, 20.0), 8.0, (200, 0, 0))
    sheet.limb((5.0, 5.0), (30.0, 30.0), (3.0, 2.0), (0, 200, 0))
    np.testing.assert_array_equal(sheet.label_map(), before)
    assert sheet.picture.getpixel((20, 26)) == (200, 0, 0)


def test_front_faces_are_told_from_back_faces() -> None:
    sheet = canvas()
    face = [(-1.0, 0.0, 5.0), (-1.0, 1.0, 5.0), (1.0, 1.0, 5.0), (1.0, 0.0, 5.0)]
    assert sheet.faces_camera(face)
    assert not sheet.faces_camera(face[::-1])


def test_light_by_hand() -> None:
    light = Light(
        "test",
        (0.0, 1.0, 0.0),
        (0.5, 0.5, 0.5),
        (0.4, 0.4, 0.4),
        (0, 0, 1),
        (1, 1, 1),
        (1.0, 1.0, 1.0),
        100.0,
        0,
        False,
        0,
    )
    # From above: all of the ambient light and all of the sun.
    assert light.lit((1.0, 0.5, 0.0), (0, 1, 0)) == (229, 114, 0)
    # A wall: 82 % of the ambient light, no sun.
    assert light.lit((1.0, 1.0, 1.0), (1, 0, 0)) == (83, 83, 83)
    # 100 m of haze take 63 % of black.
    assert light.lit((0.0, 0.0, 0.0), (0, 1, 0), 100.0) == (int(255 * (1 - math.exp(-1))),) * 3


def test_dice_are_the_same_everywhere() -> None:
    """Values that Python and NumPy promise to keep."""
    dice = Dice(0)
    assert dice.between(0, 1) == 0.8444218515250481
    assert dice.pick("abcd") == "d"
    assert Dice(0).grey(1, 4).tolist() == [[233, 103, 149, 38]]
    rolled = [Dice(seed).whole(1, 6) for seed in range(200)]
    assert set(rolled) == {1, 2, 3, 4, 5, 6}


def test_noise_is_nearly_normal() -> None:
    noise = Dice(3).normal(100, 100, 3)
    assert noise.shape == (100, 100, 3)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1.0, abs=0.02)


def test_every_light_is_sound() -> None:
    seen = set()
    for seed in range(60):
        light = choose_light(Dice(seed))
        seen.add(light.name)
        assert math.hypot(*light.sun) == pytest.approx(1.0)
        assert light.sun[1] > 0
        assert all(0 <= value <= 1 for colour in (light.zenith, light.horizon, light.haze) for value in colour)
    assert seen == {"day", "morning", "golden", "dusk", "overcast"}


def test_streets_are_plausible() -> None:
    for seed in range(60):
        plan = choose_plan(Dice(seed))
        assert 0 < plan.camera < plan.half, "the camera drives on the right"
        assert plan.lanes * plan.lane < plan.half
        assert plan.zebra is None or plan.zebra > 5
        assert all(grass < wide for grass, wide in zip(plan.verge, plan.pavement, strict=True))
        assert plan.edge(-1) < -plan.half < plan.half < plan.edge(1)


def test_vehicles_have_the_sizes_of_vehicles() -> None:
    for seed in range(30):
        car, bus = choose_car(Dice(seed), 0.0, 10.0, 0.0), choose_bus(Dice(seed), 0.0, 20.0, math.pi / 2)
        assert 3.5 < car.length < 5.6
        assert 1.3 < car.height < 2.4
        assert bus.length > 8.9
        along = [x for x, _ in bus.footprint()]
        assert max(along) - min(along) == pytest.approx(bus.length), "a crossing bus lies across the view"
