"""Contact sheets: images as a model gets them, with patch grid, boxes and related patches, to be checked by eye."""

import textwrap
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from vlmflow.data.open_image import open_image
from vlmflow.data.sampling import sample, split_by_ids
from vlmflow.errors import QuestionError
from vlmflow.prompts.layouts.patch_map import Box, View, clipped
from vlmflow.prompts.layouts.patch_maps import PatchMaps

from .as_seen import as_image

QUESTIONS = 12
HEIGHT = 336  # pixels of every view on the sheet
GAP = 16
TEXT = 15  # pixels of the letters
WIDTH = 1500  # of the sheet, at most, unless one image needs more
LEAST = 700
SHADE = (15, 15, 25, 125)  # over patches that are not related, so that the colours of the related ones stay true
GRID = (130, 130, 140, 120)
BOX = (255, 220, 0, 255)


def contact_sheet(patch_maps: PatchMaps, questions: pl.DataFrame, title: str, count: int = QUESTIONS) -> Image.Image:
    """A sample of questions, each with every view that the model gets of its image.

    Args:
        patch_maps: of the model.
        questions: rows of the table `task` joined with `patches`.
        title: text above the questions.
        count: the largest number of questions.
    """
    sampled, _ = split_by_ids(questions, sample(questions["question_id"], count, seed=0))
    cells = [cell for row in sampled.iter_rows(named=True) if (cell := _cell(patch_maps, row)) is not None]
    lines = _lines(cells)
    width = max([sum(cell.width + GAP for cell in line) for line in lines] + [LEAST]) + GAP
    heights = [max(cell.height for cell in line) + GAP for line in lines]
    sheet = Image.new("RGB", (width, 3 * GAP + TEXT + sum(heights)), "white")
    heading = f"{title}: {len(cells)} of {len(questions)} questions. Bright: related patches; yellow: boxes."
    ImageDraw.Draw(sheet).text((GAP, GAP), heading, "black", ImageFont.load_default(TEXT + 2))
    top = 3 * GAP + TEXT
    for line, height in zip(lines, heights, strict=True):
        left = GAP
        for cell in line:
            sheet.paste(cell, (left, top))
            left += cell.width + GAP
        top += height
    return sheet


def _lines(cells: list[Image.Image]) -> list[list[Image.Image]]:
    """The cells in lines that are at most as wide as the sheet."""
    lines: list[list[Image.Image]] = []
    for cell in cells:
        if lines and sum(other.width + GAP for other in lines[-1]) + cell.width <= WIDTH:
            lines[-1].append(cell)
        else:
            lines.append([cell])
    return lines


def _cell(patch_maps: PatchMaps, row: dict[str, Any]) -> Image.Image | None:
    """One question: the views of its image side by side, and its text below; None if the image cannot be read."""
    try:
        image = open_image(row["image"])
    except QuestionError:
        return None
    patch_map, view_pixels = patch_maps.views(image)
    # Only the part inside of the image counts and can be drawn.
    boxes = [
        (item["name"], clipped((item["x"], item["y"], item["w"], item["h"]), image.size))
        for item in row["objects"]
        if item["x"] is not None
    ]
    views = [
        _view(view, pixels, boxes, set(row["related"]))
        for view, pixels in zip(patch_map.views, view_pixels, strict=True)
    ]
    width = sum(view.width + GAP for view in views) - GAP
    names = ", ".join(item["name"] + ("" if item["id"] else " (absent)") for item in row["objects"])
    text = f"{row['question']}  {row['answer']}\nobjects: {names}; {len(row['related'])} of {row['tokens']} tokens"
    wrapped = [part for line in text.split("\n") for part in textwrap.wrap(line, max(20, 2 * width // TEXT))]
    cell = Image.new("RGB", (width, HEIGHT + 6 + (TEXT + 4) * len(wrapped)), "white")
    left = 0
    for view in views:
        cell.paste(view, (left, 0))
        left += view.width + GAP
    ImageDraw.Draw(cell).multiline_text((0, HEIGHT + 6), "\n".join(wrapped), "black", ImageFont.load_default(TEXT))
    return cell


def _view(view: View, pixels: np.ndarray, boxes: list[tuple[str, Box]], related: set[int]) -> Image.Image:
    zoom = HEIGHT / pixels.shape[1]
    shown_image = as_image(pixels)
    shown_image = shown_image.resize(
        (round(pixels.shape[2] * zoom), HEIGHT), Image.Resampling.NEAREST if zoom > 1 else None
    )
    layer = Image.new("RGBA", shown_image.size, (0, 0, 0, 0))
    brush = ImageDraw.Draw(layer)
    side = view.patch * zoom
    for row in range(view.rows):
        for column in range(view.columns):
            corners = (column * side, row * side, (column + 1) * side, (row + 1) * side)
            if int(view.tokens[row, column]) not in related:
                brush.rectangle(corners, fill=SHADE)
    for row in range(1, view.rows):
        brush.line((0, row * side, shown_image.width, row * side), fill=GRID)
    for column in range(1, view.columns):
        brush.line((column * side, 0, column * side, shown_image.height), fill=GRID)
    for name, box in boxes:
        left, top, right, bottom = (end * zoom for end in view.project(box))
        if right <= 0 or bottom <= 0 or left >= shown_image.width or top >= shown_image.height:
            continue  # it is in another view
        brush.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0, 255))
        brush.rectangle((left, top, right, bottom), outline=BOX, width=2)
        corner = (min(max(left + 4, 0), shown_image.width - 40), min(max(top + 2, 0), HEIGHT - TEXT))
        brush.text(corner, name, BOX, ImageFont.load_default(TEXT), stroke_width=2, stroke_fill=(0, 0, 0, 255))
    return Image.alpha_composite(shown_image.convert("RGBA"), layer).convert("RGB")
