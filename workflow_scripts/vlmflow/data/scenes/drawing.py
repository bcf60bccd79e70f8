"""The image of a scene: its things on a noisy background."""

import numpy as np
from PIL import Image, ImageDraw

from .scene import COLORS, SHAPES, SIDE, Scene, Thing


def render(scene: Scene, contrast: float = 1.0) -> Image.Image:
    """The image of a scene, `SIDE` pixels square, in RGB.

    Args:
        scene: what is drawn.
        contrast: the share of each thing's own colours in what is drawn, from 0 to 1; the rest is the background's
            mean colour.
    """
    rng = np.random.default_rng(scene.noise_seed)
    tint = rng.uniform(185, 235, size=3)
    ground = tint + rng.normal(0, 6, size=(SIDE, SIDE, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    for thing in scene.things:
        image.paste(_painted(thing, tint, contrast), (thing.x, thing.y), _outline(thing.shape, thing.side))
    return image


def _outline(shape: str, side: int) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    end, middle = side - 1, (side - 1) / 2
    match shape:
        case "circle":
            draw.ellipse((0, 0, end, end), fill=255)
        case "square":
            draw.rectangle((0, 0, end, end), fill=255)
        case "triangle":
            draw.polygon([(middle, 0), (end, end), (0, end)], fill=255)
        case "diamond":
            draw.polygon([(middle, 0), (end, middle), (middle, end), (0, middle)], fill=255)
        case "cross":
            third = side // 3
            draw.rectangle((third, 0, end - third, end), fill=255)
            draw.rectangle((0, third, end, end - third), fill=255)
        case _:
            raise ValueError(f"no such shape: {shape!r}; choose from {', '.join(SHAPES)}")
    return mask


def _painted(thing: Thing, tint: np.ndarray, contrast: float) -> Image.Image:
    color = np.array(COLORS[thing.color])
    rows, columns = np.mgrid[: thing.side, : thing.side]
    match thing.texture:
        case "striped":
            dark = (rows + columns) // 2 % 2 == 1
        case "dotted":
            dark = (rows % 4 < 2) & (columns % 4 < 2)
        case _:
            dark = np.zeros((thing.side, thing.side), dtype=bool)
    pixels = contrast * np.where(dark[..., None], color * 0.25, color) + (1 - contrast) * tint
    return Image.fromarray(pixels.astype(np.uint8))
