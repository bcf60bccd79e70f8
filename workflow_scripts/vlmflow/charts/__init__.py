"""A summary as an Altair chart, and what it says in words."""

from .captions import caption
from .drawing import chosen_rows, draw, save, window_of
from .style import ARROW_FONT, FONT, STROKES, name_of

__all__ = ["ARROW_FONT", "FONT", "STROKES", "caption", "chosen_rows", "draw", "name_of", "save", "window_of"]
