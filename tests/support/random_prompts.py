"""Prompts about noise for small random models."""

import torch

from support.noise import noise_image
from support.paths import random_llava
from vlmflow.edges import FLOW_EDGES
from vlmflow.prompts.build import Patches

QUESTION = "what color is the circle , red or blue ?"
EDGES = [
    *FLOW_EDGES,
    "question -> question",
    "image -> image",
    "options -> template",
]
FOUR_EDGES = ["question -> last", "image -> last", "image -> question", "question without options -> true option"]


def prompt_with_words(vlm, words, grid):
    image = noise_image(4 * grid)
    question = "what color is the circle , red or blue ? " + " ".join(words)
    patches = Patches(grid * grid, [0] if grid == 1 else [0, grid])
    return vlm.prompt(image, question.strip(), options=("red", "blue"), patches=patches)


def talking_llava(*args, **kwargs):
    """A random model that never says the token of images, which no model of images says."""
    vlm = random_llava(*args, **kwargs)
    with torch.no_grad():
        vlm.unembedding.weight[vlm.image_token_id] = 0.99 * vlm.unembedding.weight[-1]
    return vlm


def prompt_with_segments(vlm, grid, image=None):
    image, objects = image or noise_image(4 * grid), {"circle": [(0, 0, 1, 1)]}
    patches = Patches(grid * grid, [0, grid])
    return vlm.prompt(image, QUESTION, options=("red", "blue"), patches=patches, sinks=[0, 1], objects=objects)
