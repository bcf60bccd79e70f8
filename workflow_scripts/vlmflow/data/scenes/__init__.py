"""Scenes drawn on the spot: things of different shape, colour, size and texture, with questions of six tasks."""

from .drawing import render
from .files import scene_questions, write_scenes
from .questions import MAKERS, ask, describe, describe_thing
from .scene import CELL, COLORS, KINDS, SHAPES, SIDE, SIZES, TEXTURES, Scene, Thing, draw_scene

__all__ = [
    "CELL",
    "COLORS",
    "KINDS",
    "MAKERS",
    "SHAPES",
    "SIDE",
    "SIZES",
    "TEXTURES",
    "Scene",
    "Thing",
    "ask",
    "describe",
    "describe_thing",
    "draw_scene",
    "render",
    "scene_questions",
    "write_scenes",
]
