"""Scenes of two to four things of different shape, and their random generation."""

from dataclasses import dataclass

import numpy as np

SIDE = 96  # pixels; six patches of sixteen pixels per side
CELL = 16
SHAPES = ("circle", "square", "triangle", "cross", "diamond")
COLORS = {"red": (214, 45, 40), "green": (46, 160, 67), "blue": (40, 90, 214), "yellow": (235, 200, 40)}
SIZES = {"small": 12, "large": 27}  # side of the box in pixels
TEXTURES = ("solid", "striped", "dotted")
APART = 20  # least distance in pixels between two centres at which one thing is to the left of the other
KINDS = ("color", "size", "texture")  # the attributes that a question can ask for


@dataclass(frozen=True)
class Thing:
    """One object of a scene; `x` and `y` are the box's upper left corner in pixels."""

    id: str
    shape: str
    color: str
    size: str
    texture: str
    x: int
    y: int

    @property
    def side(self) -> int:
        return SIZES[self.size]

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.side / 2, self.y + self.side / 2

    @property
    def hposition(self) -> str:
        return "left" if self.center[0] < SIDE / 2 else "right"

    @property
    def vposition(self) -> str:
        return "top" if self.center[1] < SIDE / 2 else "bottom"

    def attribute(self, kind: str) -> str:
        return str(getattr(self, kind))


@dataclass(frozen=True)
class Scene:
    id: str
    things: tuple[Thing, ...]
    noise_seed: int


def draw_scene(index: int, seed: int) -> Scene:
    """The scene number `index` of the family `seed`; the same two numbers give the same scene."""
    rng = np.random.default_rng([seed, index])
    shapes = rng.permutation(SHAPES)[: rng.integers(2, 5)]
    free = np.ones((SIDE // CELL, SIDE // CELL), dtype=bool)
    things = []
    for number, shape in enumerate(shapes):
        size = str(rng.choice(list(SIZES)))
        x, y = _free_position(size, free, rng)
        things.append(
            Thing(
                id=str(index * 10 + number),
                shape=str(shape),
                color=str(rng.choice(list(COLORS))),
                size=size,
                texture=str(rng.choice(TEXTURES)),
                x=x,
                y=y,
            )
        )
    return Scene(id=str(index), things=tuple(things), noise_seed=int(rng.integers(2**31)))


def _free_position(size: str, free: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """A free position in one cell (small) or two by two cells (large), all of it in one quarter of the image.

    A small model learns far more slowly if things cross the borders of patches at random.
    """
    cells = 1 if size == "small" else 2
    half = SIDE // CELL // 2
    starts = [start for start in range(2 * half) if start % half <= half - cells]
    corners = [(r, c) for r in starts for c in starts if free[r : r + cells, c : c + cells].all()]
    row, column = corners[rng.integers(len(corners))]
    free[row : row + cells, column : column + cells] = False
    jitter = rng.integers(0, cells * CELL - SIZES[size] + 1, size=2)
    return int(column * CELL + jitter[0]), int(row * CELL + jitter[1])
