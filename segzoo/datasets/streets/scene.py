"""What stands where: the lots along a street, its furniture, its traffic and its people."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from segzoo.datasets.streets.buildings import choose_house, draw_house
from segzoo.datasets.streets.canvas import SUPERSAMPLING, Camera, Canvas, Pixel
from segzoo.datasets.streets.dice import Dice
from segzoo.datasets.streets.furniture import draw_lamp, draw_sign, draw_traffic_light
from segzoo.datasets.streets.ground import KERB, Plan, choose_plan, draw_ground
from segzoo.datasets.streets.light import RGB, Light, choose_light
from segzoo.datasets.streets.people import draw_bicycle, draw_cyclist, draw_person
from segzoo.datasets.streets.plants import choose_foliage, draw_hedge, draw_tree, draw_wall
from segzoo.datasets.streets.shadows import Shadows
from segzoo.datasets.streets.sky import draw_backdrop, draw_sky
from segzoo.datasets.streets.vehicles import Vehicle, choose_bus, choose_car, draw_vehicle, shade_vehicle

__all__ = ["Scene", "choose_camera", "draw_scene"]


@dataclass
class Scene:
    """A street being furnished. `items` are drawn from the farthest to the nearest."""

    canvas: Canvas
    light: Light
    plan: Plan
    dice: Dice
    shadows: Shadows
    leaves: RGB
    items: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def add(self, distance: float, draw: Callable[[], None]) -> None:
        """Put a drawing at a distance."""
        self.items.append((distance, draw))

    def foot(self, lateral: float, z: float) -> tuple[float, float, float]:
        """Where something on the pavement stands: (right, up, ahead)."""
        return self.plan.x(lateral, z), KERB, z


def choose_camera(dice: Dice, size: tuple[int, int]) -> Camera:
    """A camera on a car or in a hand, for a picture of (height, width) pixels."""
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    return Camera(
        focal=dice.between(1.25, 1.8) * max(width / 2, height),
        centre=width * dice.between(0.44, 0.56),
        horizon=height * dice.between(0.40, 0.50),
        height=dice.between(1.4, 2.5),
        roll=dice.between(-0.012, 0.012),
    )


def draw_scene(dice: Dice, size: tuple[int, int]) -> tuple[Canvas, Light]:
    """Draw one street, everything but the camera's own faults."""
    canvas = Canvas(size, choose_camera(dice, size))
    light = choose_light(dice)
    plan = choose_plan(dice)
    scene = Scene(canvas, light, plan, dice, Shadows(canvas, light), choose_foliage(dice))
    draw_sky(canvas, light, dice)
    draw_backdrop(canvas, light, dice)
    draw_ground(canvas, light, plan, dice)
    for side in (-1, 1):
        place_lots(scene, side)
        place_furniture(scene, side)
        place_parked(scene, side)
        place_walkers(scene, side)
    place_traffic(scene)
    place_crossing(scene)
    scene.shadows.develop()
    for _, draw in sorted(scene.items, key=lambda item: -item[0]):
        draw()
    return canvas, light


def place_lots(scene: Scene, side: int) -> None:
    """Houses, gardens and parks from here to the end of the street."""
    dice, plan = scene.dice, scene.plan
    green = dice.between(0.3, 0.85)
    z = dice.between(-8, 0)
    while z < 150:
        length = dice.between(9, 19)
        z1 = z + length
        if plan.crossed(z - 2.0, z1 + 2.0) and plan.crossing is not None:
            if z1 < plan.crossing:
                z1 = plan.crossing - 2.5
            if z > plan.crossing - 6.0 or plan.crossing < z1:
                z = max(z, plan.crossing + plan.crossing_width + dice.between(2.5, 4.5))
                z1 = z + length
        if z1 > 3:
            kind = dice.pick(("park", "garden", "garden")) if dice.chance(green) else "house"
            place_lot(scene, side, kind, (z, z1))
        z = z1 + (dice.between(1.0, 3.5) if dice.chance(0.25) else 0.0)


def place_lot(scene: Scene, side: int, kind: str, span: Pixel) -> None:
    """One lot: a house at the pavement, a house behind a front garden, or a park."""
    dice, plan = scene.dice, scene.plan
    edge = plan.edge(side)
    draws: list[Callable[[], None]] = []
    if kind != "park":
        setback = side * dice.between(3.5, 7) if kind == "garden" else 0.0
        inset = dice.between(0.8, 2.0) if kind == "garden" else 0.0
        near, far = span[0] + inset, span[1] - inset
        front = ((plan.x(edge + setback, near), near), (plan.x(edge + setback, far), far))
        house, depth = choose_house(dice, scene.light), dice.between(8, 12)
        outward = [(x + side * depth, z) for x, z in front]
        scene.shadows.under([*front, *outward], house.height)
        draws.append(partial(draw_house, scene.canvas, scene.light, dice, house, front, depth))
    if kind != "house":
        for _ in range(dice.whole(1, 2) if kind == "garden" else dice.whole(2, 4)):
            z = dice.between(span[0] + 1, span[1] - 1)
            lateral = edge + side * (dice.between(1.5, 3.0) if kind == "garden" else dice.between(2.0, 10.0))
            tree = plant(
                scene, (plan.x(lateral, z), 0.0, z), dice.between(4.0, 6.0) if kind == "garden" else dice.between(6, 10)
            )
            if tree is not None:
                draws.append(tree)
        draws.extend(border(scene, side, span))
    scene.add(span[1], partial(in_turn, draws))


def in_turn(draws: list[Callable[[], None]]) -> None:
    """Make several drawings, first to last."""
    for draw in draws:
        draw()


def border(scene: Scene, side: int, span: Pixel) -> list[Callable[[], None]]:
    """What divides a green lot from the pavement: a wall, a hedge or nothing."""
    dice, plan = scene.dice, scene.plan
    lateral = plan.edge(side) + side * 0.15
    front = ((plan.x(lateral, span[0]), span[0]), (plan.x(lateral, span[1]), span[1]))
    kind = dice.pick(("wall", "wall", "wall", "hedge", "none", "none"))
    height = dice.between(1.5, 2.3)
    if kind == "none":
        return []
    scene.shadows.under([*front, *((x + side * 0.4, z) for x, z in front)], height)
    if kind == "hedge":
        return [partial(draw_hedge, scene.canvas, scene.light, dice, front, height * 0.8, scene.leaves)]
    return [partial(draw_wall, scene.canvas, scene.light, dice, front, height)]


def plant(scene: Scene, foot: tuple[float, float, float], height: float) -> Callable[[], None] | None:
    """A tree and its shadow, unless it would stand in front of the lens."""
    if foot[2] < 4.5:
        return None
    x, _, z = foot
    scene.shadows.crown(x, z, height * 0.66, height * 0.27)
    scene.shadows.under([(x - 0.1, z), (x + 0.1, z), (x + 0.1, z + 0.2)], height * 0.5)
    return partial(draw_tree, scene.canvas, scene.light, scene.dice, foot, height, scene.leaves)


def place_furniture(scene: Scene, side: int) -> None:
    """Lamps and sign posts at the kerb, and an avenue's trees between them."""
    dice, plan = scene.dice, scene.plan
    painted: RGB = dice.pick(((0.22, 0.25, 0.25), (0.46, 0.48, 0.49), (0.18, 0.27, 0.22)))
    height, spacing = dice.between(5.5, 7.5), dice.between(17, 26)
    z = dice.between(7, 7 + spacing * 0.7)
    lamps = []
    while z < 48:
        if not plan.crossed(z - 1, z + 1):
            foot = scene.foot(side * (plan.half + 0.5), z)
            scene.shadows.under([(foot[0] - 0.09, z), (foot[0] + 0.09, z), (foot[0], z + 0.1)], height)
            scene.add(z, partial(draw_lamp, scene.canvas, scene.light, foot, side, height, painted))
            lamps.append(z)
        z += spacing
    for _ in range(dice.whole(1, 2)):
        z = dice.between(7, 17)
        if not plan.crossed(z - 1, z + 1):
            foot = scene.foot(side * (plan.half + dice.between(0.5, 1.0)), z)
            scene.shadows.under([(foot[0] - 0.06, z), (foot[0] + 0.06, z), (foot[0], z + 0.1)], 2.8)
            scene.add(z, partial(draw_sign, scene.canvas, scene.light, dice, foot))
    if dice.chance(0.55):
        gap = dice.between(8, 14)
        z = dice.between(9, 16)
        while z < 70:
            if not plan.crossed(z - 2, z + 2) and all(abs(z - lamp) > 1.5 for lamp in lamps):
                tree = plant(scene, scene.foot(side * (plan.half + 0.9), z), dice.between(5.0, 7.5))
                if tree is not None:
                    scene.add(z, tree)
            z += gap


def place_vehicle(scene: Scene, vehicle: Vehicle) -> None:
    """A vehicle and its shadow."""
    shade_vehicle(scene.shadows, vehicle)
    scene.add(vehicle.z, partial(draw_vehicle, scene.canvas, scene.light, vehicle))


def place_parked(scene: Scene, side: int) -> None:
    """Cars along the kerb."""
    dice, plan = scene.dice, scene.plan
    share = dice.pick((0.0, 0.35, 0.6, 0.85))
    z = dice.between(7.5, 12)
    while z < 58:
        clear = plan.zebra is None or abs(z - plan.zebra - 1.5) > 5
        if dice.chance(share) and clear and not plan.crossed(z - 4, z + 4):
            heading = plan.yaw(z) + (math.pi if side < 0 else 0.0) + dice.between(-0.03, 0.03)
            place_vehicle(scene, choose_car(dice, plan.x(side * (plan.half - 1.0), z), z, heading))
        z += dice.between(5.9, 7.2)


def place_traffic(scene: Scene) -> None:
    """Cars and buses in the lanes, right-hand traffic."""
    dice, plan = scene.dice, scene.plan
    busy = dice.between(0.3, 1.0)
    for side in (-1, 1):
        for k in range(plan.lanes):
            lateral = side * (k + 0.5) * plan.lane
            z = dice.between(10, 24) if side > 0 else dice.between(8, 22)
            while z < 80:
                yaw = plan.yaw(z)
                heading = yaw if side > 0 else yaw + math.pi
                blocked = plan.zebra is not None and abs(z - plan.zebra - 1.5) < 6.5
                if dice.chance(busy * 0.7) and not blocked and not plan.crossed(z - 6, z + 6):
                    choose = choose_bus if dice.chance(0.24) and z > 14 else choose_car
                    place_vehicle(scene, choose(dice, plan.x(lateral + dice.between(-0.25, 0.25), z), z, heading))
                z += dice.between(14, 26)
    if plan.crossing is not None and dice.chance(0.6):
        way = dice.pick((-1, 1))
        z = plan.crossing + plan.crossing_width * (0.3 if way > 0 else 0.7)
        choose = choose_bus if dice.chance(0.3) else choose_car
        place_vehicle(scene, choose(dice, dice.between(-9, 9), z, way * math.pi / 2))


def place_walkers(scene: Scene, side: int) -> None:
    """People on the pavement and bicycles left there."""
    dice, plan = scene.dice, scene.plan
    for _ in range(dice.whole(1, 5)):
        z = dice.between(6.5, 17)
        near = max(1.0, plan.verge[(side + 1) // 2] + 0.4)
        lateral = side * (plan.half + dice.between(near, plan.pavement[(side + 1) // 2] - 0.4))
        for k in range(dice.pick((1, 1, 2))):
            place_person(scene, scene.foot(lateral + 0.75 * k, z + 0.15 * k), dice.chance(0.35))
    for _ in range(dice.pick((0, 1, 2, 2))):
        z = dice.between(7, 14)
        foot = scene.foot(side * (plan.half + dice.between(0.9, 1.4)), z)
        yaw, way = dice.between(-0.7, 0.7), dice.pick((-1, 1))
        scene.shadows.touch(
            [(foot[0] - 0.8, z - 0.12), (foot[0] + 0.8, z - 0.12), (foot[0] + 0.8, z + 0.2), (foot[0] - 0.8, z + 0.2)],
            150,
        )
        scene.add(z, partial(draw_bicycle, scene.canvas, scene.light, dice, foot, way, yaw))


def place_person(scene: Scene, foot: tuple[float, float, float], sideways: bool) -> None:
    """Somebody, with a shadow."""
    x, _, z = foot
    height = scene.dice.between(1.55, 1.92) if scene.dice.chance(0.88) else scene.dice.between(1.1, 1.35)
    scene.shadows.under([(x - 0.2, z), (x + 0.2, z), (x + 0.2, z + 0.15), (x - 0.2, z + 0.15)], height)
    scene.shadows.touch([(x - 0.3, z - 0.15), (x + 0.3, z - 0.15), (x + 0.3, z + 0.2), (x - 0.3, z + 0.2)], 170)
    scene.add(z, partial(draw_person, scene.canvas, scene.light, scene.dice, foot, height, sideways))


def place_crossing(scene: Scene) -> None:
    """Traffic lights at a zebra crossing, and who goes over the road."""
    dice, plan = scene.dice, scene.plan
    if plan.zebra is not None:
        shown, arm = dice.pick((0, 0, 1, 2)), dice.chance(0.5)
        for side in (-1, 1):
            z = plan.zebra - 0.5 if side > 0 else plan.zebra + 3.4
            if dice.chance(0.85) and z > 6:
                foot = scene.foot(side * (plan.half + 0.45), z)
                scene.shadows.under([(foot[0] - 0.1, z), (foot[0] + 0.1, z), (foot[0], z + 0.1)], 3.4)
                scene.add(
                    z, partial(draw_traffic_light, scene.canvas, scene.light, foot, side, shown, arm and side > 0)
                )
        for _ in range(dice.whole(0, 4)):
            z = plan.zebra + dice.between(0.3, 2.7)
            if z > 6:
                lateral = dice.between(-plan.half, plan.half)
                place_person(scene, (plan.x(lateral, z), 0.0, z), True)
    if dice.chance(0.55):
        z = (plan.zebra + dice.between(0.4, 2.6)) if plan.zebra is not None else dice.between(7.5, 13)
        z = max(z, 7.5)
        foot = (plan.x(dice.between(-plan.half, plan.half), z), 0.0, z)
        scene.shadows.touch(
            [(foot[0] - 0.8, z - 0.12), (foot[0] + 0.8, z - 0.12), (foot[0] + 0.8, z + 0.2), (foot[0] - 0.8, z + 0.2)],
            170,
        )
        scene.add(z, partial(draw_cyclist, scene.canvas, scene.light, dice, foot, dice.pick((-1, 1))))
