"""A panel beside a picture that names its colours. Pillow only."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, features

__all__ = ["with_legend"]

Row = tuple[str, tuple[int, int, int], float]  # name, colour, share of the picture

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BACKGROUND, _TEXT, _FAINT, _FRAME = (255, 255, 255), (32, 33, 36), (95, 99, 104), (218, 220, 224)


def with_legend(picture: Image.Image, rows: Sequence[Row]) -> Image.Image:
    """``picture`` with a legend: to its right, or below where the picture is wide.

    Rows keep their order; those that find no room are summed up in a last one.
    """
    text = min(max(round(min(picture.size) / 28), 12), 40)
    font = _font(text)
    below = picture.width >= 1.6 * picture.height
    return _below(picture, rows, font, text) if below else _beside(picture, rows, font, text)


def _font(size: int) -> Font:
    # without FreeType Pillow only has a bitmap font of one size
    return ImageFont.load_default(size) if features.check("freetype2") else ImageFont.load_default()


def _fold(rows: Sequence[Row], room: int) -> list[Row]:
    """At most ``room`` rows; what does not fit is one row of its own."""
    if len(rows) <= room:
        return list(rows)
    kept, rest = rows[: max(room - 1, 0)], rows[max(room - 1, 0) :]
    return [*kept, (f"{len(rest)} others", _FRAME, sum(share for _, _, share in rest))]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _cell(draw: ImageDraw.ImageDraw, row: Row, box: tuple[int, int, int], font: Font, text: int) -> None:
    """Draw one row: swatch, name, and its share at the right end of ``box`` (left, centre line, right)."""
    left, middle, right = box
    name, colour, share = row
    half = text // 2
    draw.rounded_rectangle((left, middle - half, left + text, middle - half + text), max(2, text // 5), colour, _FRAME)
    draw.text((left + text + half, middle), name, _TEXT, font, anchor="lm")
    draw.text((right, middle), _percent(share), _FAINT, font, anchor="rm")


def _cell_width(rows: Sequence[Row], font: Font, text: int) -> int:
    name = max((font.getlength(name) for name, _, _ in rows), default=0)
    return int(name + font.getlength("100.0%")) + 3 * text


def _beside(picture: Image.Image, rows: Sequence[Row], font: Font, text: int) -> Image.Image:
    line = round(text * 1.7)
    shown = _fold(rows, max(1, (picture.height - text) // line))
    height = max(picture.height, len(shown) * line + text)
    width = _cell_width(shown, font, text)
    canvas = Image.new("RGB", (picture.width + width + 2 * text, height), _BACKGROUND)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    left = picture.width + text
    for place, row in enumerate(shown):
        _cell(draw, row, (left, text // 2 + place * line + line // 2, left + width), font, text)
    return canvas


def _below(picture: Image.Image, rows: Sequence[Row], font: Font, text: int) -> Image.Image:
    line, gap = round(text * 1.7), 2 * text
    columns = max(1, (picture.width - 2 * text + gap) // (_cell_width(rows, font, text) + gap))
    shown = _fold(rows, columns * max(1, int(picture.height * 0.5) // line))
    width = (picture.width - 2 * text + gap) // columns - gap
    lines = -(-len(shown) // columns)
    canvas = Image.new("RGB", (picture.width, picture.height + lines * line + text), _BACKGROUND)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for place, row in enumerate(shown):
        # down the columns, as a list is read
        column, rank = divmod(place, lines)
        left = text + column * (width + gap)
        middle = picture.height + text // 2 + rank * line + line // 2
        _cell(draw, row, (left, middle, left + width), font, text)
    return canvas
