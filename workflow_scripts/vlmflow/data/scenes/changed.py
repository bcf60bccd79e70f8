"""Pairs of scenes that differ in one attribute of one thing, with the same question about it: exact counterfactuals."""

from dataclasses import replace
from typing import Any

import numpy as np

from .questions import Entry, attribute_question, attribute_values, pick
from .scene import Scene, draw_scene

# Attributes that change nothing but the pixels of the thing itself; a thing of another size has another box.
CHANGED = ("color", "texture")


def changed_pair(index: int, seed: int, images: int) -> list[tuple[Scene, Entry]]:
    """The scene number `index` of the family `seed`, and the same with one attribute changed, each with the question
    about this attribute; the answer to one is the false option of the other.

    Args:
        index: of the scene.
        seed: of the family.
        images: number of scenes; the changed ones are numbered from there on.
    """
    scene, rng = draw_scene(index, seed), np.random.default_rng([seed, index, 2])
    number = int(rng.integers(len(scene.things)))
    kind = str(rng.choice(CHANGED))
    thing = scene.things[number]
    other = str(pick(rng, [value for value in attribute_values(kind) if value != thing.attribute(kind)]))
    order = [thing.attribute(kind), other] if rng.random() < 0.5 else [other, thing.attribute(kind)]
    asks_color = kind == "color" and rng.random() < 0.5
    things = list(scene.things)
    attribute: dict[str, Any] = {kind: other}
    things[number] = replace(thing, **attribute)
    changed = Scene(id=str(images + index), things=tuple(things), noise_seed=scene.noise_seed)
    return [
        (shown, attribute_question(shown.things[number], kind, order, asks_color=asks_color))
        for shown in (scene, changed)
    ]
