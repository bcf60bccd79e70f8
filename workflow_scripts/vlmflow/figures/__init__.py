"""A summary as an Altair chart, and what it says in words."""

from .captions import caption
from .drawing import More, draw, save, why_nothing
from .panels import axes_of, chosen_rows, line_names, panel_name, window_of
from .style import ARROW_FONT, FONT, STROKES, name_of

__all__ = [
    "ARROW_FONT",
    "FONT",
    "STROKES",
    "More",
    "axes_of",
    "caption",
    "chosen_rows",
    "draw",
    "line_names",
    "name_of",
    "panel_name",
    "save",
    "why_nothing",
    "window_of",
]
