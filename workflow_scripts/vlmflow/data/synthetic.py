"""Scenes drawn on the spot, written to disk in the layout of GQA.

A scene holds two to four things of different shape on a noisy ground.  Pictures, scene graphs and questions are
written as GQA publishes them, so that whatever reads GQA reads these, and nothing downstream knows the difference.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from vlmflow.progress import shown

SIDE = 96  # pixels; six patches of sixteen pixels a side
CELL = 16
SHAPES = ("circle", "square", "triangle", "cross", "diamond")
COLORS = {"red": (214, 45, 40), "green": (46, 160, 67), "blue": (40, 90, 214), "yellow": (235, 200, 40)}
SIZES = {"small": 12, "large": 27}  # side of the box in pixels
TEXTURES = ("solid", "striped", "dotted")
APART = 20  # pixels between two centres from which on one thing is to the left of the other
KINDS = ("color", "size", "texture")  # the attributes a question can ask for

Entry = dict[str, Any]
T = TypeVar("T")


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
        x, y = _place(size, free, rng)
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


def _place(size: str, free: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """A free place inside one cell (small) or two by two (large) that lies wholly in one quarter of the picture.

    Things that straddle patches at random were learned far more slowly by a model of this size.
    """
    cells = 1 if size == "small" else 2
    half = SIDE // CELL // 2
    starts = [start for start in range(2 * half) if start % half <= half - cells]
    corners = [(r, c) for r in starts for c in starts if free[r : r + cells, c : c + cells].all()]
    row, column = corners[rng.integers(len(corners))]
    free[row : row + cells, column : column + cells] = False
    jitter = rng.integers(0, cells * CELL - SIZES[size] + 1, size=2)
    return int(column * CELL + jitter[0]), int(row * CELL + jitter[1])


def render(scene: Scene) -> Image.Image:
    """The picture of a scene, `SIDE` pixels square, in RGB."""
    rng = np.random.default_rng(scene.noise_seed)
    tint = rng.uniform(185, 235, size=3)
    ground = tint + rng.normal(0, 6, size=(SIDE, SIDE, 3))
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    for thing in scene.things:
        picture.paste(_painted(thing), (thing.x, thing.y), _outline(thing.shape, thing.side))
    return picture


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
            raise ValueError(f"no such shape: {shape!r}; known are {', '.join(SHAPES)}")
    return mask


def _painted(thing: Thing) -> Image.Image:
    color = np.array(COLORS[thing.color])
    rows, columns = np.mgrid[: thing.side, : thing.side]
    match thing.texture:
        case "striped":
            dark = (rows + columns) // 2 % 2 == 1
        case "dotted":
            dark = (rows % 4 < 2) & (columns % 4 < 2)
        case _:
            dark = np.zeros((thing.side, thing.side), dtype=bool)
    pixels = np.where(dark[..., None], color * 0.25, color)
    return Image.fromarray(pixels.astype(np.uint8))


# --- questions, one maker a task, named as the task ---


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


def _pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def _shuffled(rng: np.random.Generator, *items: str) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]


def choose_attribute(scene: Scene, rng: np.random.Generator) -> Entry | None:
    thing = _pick(rng, list(scene.things))
    kind = str(rng.choice(KINDS))
    true = thing.attribute(kind)
    false = str(_pick(rng, [value for value in _values(kind) if value != true]))
    first, second = _shuffled(rng, true, false)
    question = f"Is the {thing.shape} {first} or {second}?"
    if kind == "color" and rng.random() < 0.5:
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
    right, wrong, kind = _pick(rng, pairs)
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
    a, b = _pick(rng, pairs)
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
    a, b, kind = _pick(rng, pairs)
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
    present = _pick(rng, list(scene.things))
    things = {thing.shape: thing for thing in scene.things}
    # Every fourth time the other shape is not there at all, as happens in GQA.
    missing = rng.random() < 0.25
    other_shape = _pick(rng, [shape for shape in SHAPES if shape != present.shape and (shape not in things) == missing])
    asked = [things[shape] for shape in (present.shape, other_shape) if shape in things]
    # About half of the answers are "yes", whatever the number of values that the attribute can take; a little more,
    # since things that hold every value between them leave nothing to deny.
    holding = {thing.attribute(kind) for thing in asked}
    wanted = holding if rng.random() < 0.5 else set(_values(kind)) - holding
    if not wanted:
        return None
    value = str(_pick(rng, sorted(wanted)))
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
    thing = _pick(rng, list(scene.things))
    kind, start = _pick(rng, [("hposition", "On which side"), ("vposition", "In which part")])
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


def _values(kind: str) -> tuple[str, ...]:
    return {"color": tuple(COLORS), "size": tuple(SIZES), "texture": TEXTURES}[kind]


def ask(scene: Scene, task: str, rng: np.random.Generator, tries: int = 8) -> Entry | None:
    """A question of the task about the scene, or None where the scene allows for none."""
    for _ in range(tries):
        if entry := MAKERS[task](scene, rng):
            return entry
    return None


def describe(scene: Scene) -> str:
    """Every thing with its attributes and place, in the order of the scene."""
    return " , ".join(map(describe_thing, scene.things))


def describe_thing(thing: Thing) -> str:
    """One thing with its attributes and place."""
    return " ".join((thing.shape, thing.color, thing.size, thing.texture, thing.hposition, thing.vposition))


# --- files, as GQA has them ---


def scene_graph(scene: Scene) -> Entry:
    objects = {}
    for thing in scene.things:
        relations = [
            {"name": f"to the {side} of", "object": other.id}
            for other in scene.things
            for side in ("left", "right")
            if abs(gap := thing.center[0] - other.center[0]) >= APART and (gap < 0) == (side == "left")
        ]
        objects[thing.id] = {
            "name": thing.shape,
            "x": thing.x,
            "y": thing.y,
            "w": thing.side,
            "h": thing.side,
            "attributes": [thing.color, thing.size, thing.texture],
            "relations": relations,
        }
    return {"width": SIDE, "height": SIDE, "objects": objects}


def _annotated(entry: Entry, scene: Scene) -> Entry:
    """GQA's pointers from words (counted from 0, cut at spaces) to objects of the scene graph."""
    ids = {thing.shape: thing.id for thing in scene.things}

    def pointers(text: str) -> dict[str, str]:
        words = (word.strip("?,.").lower() for word in text.split())
        return {str(place): ids[word] for place, word in enumerate(words) if word in ids}

    fields = {"question": "question", "answer": "answer", "fullAnswer": "fullAnswer"}
    return entry | {"annotations": {key: pointers(str(entry[field])) for key, field in fields.items()}}


def scene_questions(scene: Scene, seed: int) -> Iterator[tuple[str, Entry]]:
    """One question of each task that the scene allows for, with its id."""
    rng = np.random.default_rng([seed, int(scene.id), 1])
    for number, task in enumerate(MAKERS):
        if entry := ask(scene, task, rng):
            yield f"{int(scene.id):06d}{number}", _annotated({"imageId": scene.id} | entry, scene)


def write_scenes(folder: Path, images: int, seed: int) -> None:
    """Write the first scenes of the family `seed`: `sceneGraphs.json`, `questions.json`, `images/{id}.png`, and
    `region_descriptions.json` as Visual Genome has it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Entry] = {}
    questions: dict[str, Entry] = {}
    regions = []
    for index in shown(range(images), "drawing", images, "scenes"):
        scene = draw_scene(index, seed)
        render(scene).save(folder / "images" / f"{scene.id}.png")
        graphs[scene.id] = scene_graph(scene)
        questions.update(scene_questions(scene, seed))
        regions.append({"id": index, "regions": [{"phrase": describe_thing(thing)} for thing in scene.things]})
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs, indent=1))
    (folder / "questions.json").write_text(json.dumps(questions, indent=1))
    (folder / "region_descriptions.json").write_text(json.dumps(regions, indent=1))
