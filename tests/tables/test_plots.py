"""Plots: the front, labels that do not lie upon one another, the same text for the same figures."""

from __future__ import annotations

import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segzoo import tables
from segzoo.errors import OptionError
from segzoo.tables import documents
from segzoo.tables.labels import Box, place_labels
from segzoo.tables.logs import Logs
from segzoo.tables.svg import Axis, Bar, Point, bars, pareto, scatter

SPEED, SIZE = Axis("fps", log=True), Axis("parameters", more_is_better=False, log=True)
MIOU = Axis("mIoU (%)")


def test_front_is_what_nothing_beats_in_both() -> None:
    points = [Point(1, 80, "a"), Point(2, 79, "b"), Point(2, 78, "c"), Point(3, 79, "d"), Point(9, 60, "e")]
    assert [point.label for point in pareto(points, SPEED)] == ["a", "d", "e"]
    assert [point.label for point in pareto(points, SIZE)] == ["a"]


@pytest.mark.parametrize("seed", range(3))
def test_front_agrees_with_its_definition(seed: int) -> None:
    draw = random.Random(seed)
    points = [Point(draw.randrange(1, 20), draw.randrange(60, 80), str(n)) for n in range(60)]
    front = {(point.x, point.y) for point in pareto(points, SPEED)}
    beaten = {(p.x, p.y) for p in points if any(q.x >= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in points)}
    assert front == {(p.x, p.y) for p in points} - beaten


def test_labels_stay_inside_and_off_one_another() -> None:
    frame = Box(60, 70, 800, 440)
    points = [((120.0 + 45 * n, 110.0 + 18 * n), 90.0) for n in range(14)]
    labels = place_labels(points, 14, frame)
    assert len(labels) == len(points)
    for number, label in enumerate(labels):
        assert label.box.inside(frame)
        assert sum(label.box.overlap(other.box) for other in labels[:number]) == 0


def test_a_label_wider_than_the_frame_is_placed_all_the_same() -> None:
    (label,) = place_labels([((50.0, 50.0), 500.0)], 14, Box(0, 0, 100, 100))
    assert label.end is not None


def test_a_plot_names_its_axes_and_its_front() -> None:
    points = [Point(1, 80, "Slow <net>"), Point(50, 70, "Fast"), Point(1, 75, "Beaten"), Point(2, 79, "Mine", True)]
    text = scatter(points, SPEED, MIOU, title="Speed", note="a & b")
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"fps", "mIoU (%)", "Speed", "a & b", "Slow <net>", "Fast", "Mine", "measured here"} <= set(words)
    assert "Beaten" not in words  # a title to point at, no label
    assert "<title>Beaten: 1, 75.00</title>" in text
    assert text == scatter(list(reversed(points)), SPEED, MIOU, title="Speed", note="a & b")


@pytest.mark.parametrize(
    "points",
    [[], [Point(3, 70, "only")], [Point(3, 70, "mine", measured=True)], [Point(3, 70, "a"), Point(3, 70, "b")]],
)
def test_few_points_or_none_are_drawn(points: list[Point]) -> None:
    text = scatter(points, SPEED, MIOU, title="t", note="n")
    ElementTree.fromstring(text)
    assert ("no figures in the logs yet" in text) == (not points)
    assert "nan" not in text


def test_bars_are_sorted_and_what_has_no_figure_says_so() -> None:
    text = bars(
        [Bar("a", 50.0, (0, 0, 0)), Bar("b", None, (1, 1, 1)), Bar("c", 90.0, (255, 0, 0))],
        title="t",
        note="n",
        mean=70.0,
    )
    ElementTree.fromstring(text)
    order = re.findall(r'text-anchor="end"[^>]*>(\w)<', text)
    assert order == ["c", "a", "b"]
    assert "in no picture" in text
    assert "mean 70.0" in text
    assert text.count("<rect") == 1 + 2  # the background, and two bars


def test_a_stale_plot_fails_the_check_and_is_written(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("![IoU by class](pictures/plots/embedded.svg)\n", encoding="utf-8")
    target = tmp_path / "pictures" / "plots" / "embedded.svg"
    assert "<svg" in tables.check([document], Logs())
    assert tables.write([document], Logs()) == [target]
    assert tables.check([document], Logs()) == ""
    target.write_text(target.read_text(encoding="utf-8").replace("mIoU", "mioU"), encoding="utf-8")
    assert "mioU" in tables.check([document], Logs())


def test_a_link_to_no_plot_is_named(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("![x](plots/nothing.svg)\n", encoding="utf-8")
    with pytest.raises(OptionError, match=r"README\.md: no plot is named 'nothing'; there are cityscapes-speed"):
        tables.check([document], Logs())


def test_a_document_that_cannot_be_written_keeps_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "README.md"
    document.write_text("old", encoding="utf-8")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(documents.os, "replace", fail)
    with pytest.raises(documents.TableError, match=r"README\.md: cannot be written \(disk full\)"):
        documents._write(document, "new")
    assert document.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [document]
