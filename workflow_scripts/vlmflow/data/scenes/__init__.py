"""Scenes that are drawn by the workflow: things of different shape, colour, size and texture, with questions of six
tasks."""

from .drawing import render
from .gqa_files import scene_questions, write_scenes
from .questions import MAKERS, describe, describe_thing, make_question
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
    "describe",
    "describe_thing",
    "draw_scene",
    "make_question",
    "render",
    "scene_questions",
    "write_scenes",
]
