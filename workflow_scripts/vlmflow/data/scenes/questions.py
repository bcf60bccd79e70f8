"""Questions about a scene, in the layout of GQA: one function for each task."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from .scene import APART, COLORS, KINDS, SHAPES, SIZES, TEXTURES, Scene, Thing

Entry = dict[str, Any]
T = TypeVar("T")


def _entry(question: str, answer: str, full: str, types: tuple[str, str, str], program: list[tuple]) -> Entry:
    structural, semantic, detailed = types
    steps = [{"operation": op, "dependencies": list(deps), "argument": argument} for op, deps, argument in program]
    return {
        "question": question,
        "answer": answer,
        "fullAnswer": full,
        "isBalanced": True,
        "groups": {"global": None, "local": None},
        "types": {"structural": structural, "semantic": semantic, "detailed": detailed},
        "semantic": steps,
        "semanticStr": "->".join(f"{s['operation']}: {s['argument']} {s['dependencies']}" for s in steps),
    }


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items, at random."""
    return items[int(rng.integers(len(items)))]


def _shuffled(rng: np.random.Generator, *items: str) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]


def choose_attribute(scene: Scene, rng: np.random.Generator) -> Entry | None:
    thing = pick(rng, list(scene.things))
    kind = str(rng.choice(KINDS))
    true = thing.attribute(kind)
    false = str(pick(rng, [value for value in attribute_values(kind) if value != true]))
    order = _shuffled(rng, true, false)
    return attribute_question(thing, kind, order, asks_color=kind == "color" and rng.random() < 0.5)


def attribute_question(thing: Thing, kind: str, options: Sequence[str], *, asks_color: bool) -> Entry:
    """The question which of two options is an attribute of a thing, in the order of the options; one of them is."""
    first, second = options
    true = thing.attribute(kind)
    false = second if first == true else first
    question = f"Is the {thing.shape} {first} or {second}?"
    if asks_color:
        question = f"What color is the {thing.shape}, {first} or {second}?"
    program = [("select", [], f"{thing.shape} ({thing.id})"), (f"choose {kind}", [0], f"{true}|{false}")]
    return _entry(question, true, f"The {thing.shape} is {true}.", ("choose", "attr", "chooseAttr"), program)


def choose_category(scene: Scene, rng: np.random.Generator) -> Entry | None:
    pairs = [
        (right, wrong, kind)
        for right in scene.things
        for wrong in scene.things
        for kind in KINDS
        if right.attribute(kind) != wrong.attribute(kind)
    ]
    if not pairs:
        return None
    right, wrong, kind = pick(rng, pairs)
    value = right.attribute(kind)
    first, second = _shuffled(rng, right.shape, wrong.shape)
    program = [
        ("select", [], f"shape ({right.id})"),
        (f"filter {kind}", [0], value),
        ("choose name", [1], f"{right.shape}|{wrong.shape}"),
    ]
    question = f"Which shape is {value}, the {first} or the {second}?"
    return _entry(question, right.shape, f"The {right.shape} is {value}.", ("choose", "cat", "objThisChoose"), program)


def choose_relation(scene: Scene, rng: np.random.Generator) -> Entry | None:
    pairs = [(a, b) for a in scene.things for b in scene.things if abs(a.center[0] - b.center[0]) >= APART]
    if not pairs:
        return None
    a, b = pick(rng, pairs)
    true, false = ("left", "right") if a.center[0] < b.center[0] else ("right", "left")
    first, second = _shuffled(rng, true, false)
    program = [
        ("select", [], f"{b.shape} ({b.id})"),
        ("choose rel", [0], f"{a.shape},to the {true} of|to the {false} of,s ({a.id})"),
    ]
    question = f"Is the {a.shape} to the {first} or to the {second} of the {b.shape}?"
    full = f"The {a.shape} is to the {true} of the {b.shape}."
    return _entry(question, true, full, ("choose", "rel", "relChooser"), program)


def compare_attribute(scene: Scene, rng: np.random.Generator) -> Entry | None:
    pairs = []
    for a, b in combinations(scene.things, 2):
        shared = [kind for kind in KINDS if a.attribute(kind) == b.attribute(kind)]
        if len(shared) == 1:
            pairs.append((a, b, shared[0]))
    if not pairs:
        return None
    a, b, kind = pick(rng, pairs)
    if rng.random() < 0.5:
        a, b = b, a
    program = [
        ("select", [], f"{a.shape} ({a.id})"),
        ("select", [], f"{b.shape} ({b.id})"),
        ("common", [0, 1], ""),
    ]
    question = f"What is common to the {a.shape} and the {b.shape}?"
    full = f"The {kind} is common to the {a.shape} and the {b.shape}."
    return _entry(question, kind, full, ("compare", "attr", "twoCommon"), program)


def either_exists(scene: Scene, rng: np.random.Generator) -> Entry | None:
    kind = str(rng.choice(KINDS))
    present = pick(rng, list(scene.things))
    things = {thing.shape: thing for thing in scene.things}
    # In every fourth question the other shape is not in the scene at all, as happens in GQA.
    missing = rng.random() < 0.25
    other_shape = pick(rng, [shape for shape in SHAPES if shape != present.shape and (shape not in things) == missing])
    named = [things[shape] for shape in (present.shape, other_shape) if shape in things]
    # About half of the answers are "yes", whatever the number of values of the attribute; a little more than
    # half, since no value is left to deny where the things have all of them.
    holding = {thing.attribute(kind) for thing in named}
    wanted = holding if rng.random() < 0.5 else set(attribute_values(kind)) - holding
    if not wanted:
        return None
    value = str(pick(rng, sorted(wanted)))
    answer = "yes" if value in holding else "no"
    first, second = _shuffled(rng, present.shape, other_shape)
    program: list[tuple] = []
    for shape in (first, second):
        start = len(program)
        thing = things.get(shape)
        program += [
            ("select", [], f"{shape} ({thing.id if thing else '-'})"),
            (f"filter {kind}", [start], value),
            ("exist", [start + 1], "?"),
        ]
    program.append(("or", [2, 5], ""))
    question = f"Is there a {first} or a {second} that is {value}?"
    full = f"{answer.capitalize()}, there is {'a' if answer == 'yes' else 'no'} {value} {first} or {second}."
    return _entry(question, answer, full, ("logical", "obj", "existThatOr"), program)


def query_position(scene: Scene, rng: np.random.Generator) -> Entry | None:
    thing = pick(rng, list(scene.things))
    kind, start = pick(rng, [("hposition", "On which side"), ("vposition", "In which part")])
    answer = thing.attribute(kind)
    program = [("select", [], f"{thing.shape} ({thing.id})"), ("query", [0], kind)]
    question = f"{start} of the picture is the {thing.shape}?"
    full = f"The {thing.shape} is on the {answer} of the picture."
    return _entry(question, answer, full, ("query", "attr", "positionQuery"), program)


MAKERS: dict[str, Callable[[Scene, np.random.Generator], Entry | None]] = {
    "ChooseAttr": choose_attribute,
    "ChooseCat": choose_category,
    "ChooseRel": choose_relation,
    "CompareAttr": compare_attribute,
    "LogicalObj": either_exists,
    "QueryAttr": query_position,
}


def attribute_values(kind: str) -> tuple[str, ...]:
    """The values that an attribute of this kind can have."""
    return {"color": tuple(COLORS), "size": tuple(SIZES), "texture": TEXTURES}[kind]


def make_question(scene: Scene, task: str, rng: np.random.Generator, tries: int = 8) -> Entry | None:
    """A question of the task about the scene, or None where the scene allows for none."""
    for _ in range(tries):
        if entry := MAKERS[task](scene, rng):
            return entry
    return None


def describe(scene: Scene) -> str:
    """A description of the scene: every thing with its attributes and position, in the order of the scene."""
    return " , ".join(map(describe_thing, scene.things))


def describe_thing(thing: Thing) -> str:
    """A description of one thing: its attributes and position."""
    return " ".join((thing.shape, thing.color, thing.size, thing.texture, thing.hposition, thing.vposition))
