"""The files of drawn scenes, in the layouts of GQA and Visual Genome, so that the same readers read them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vlmflow.progress import with_progress

from .changed import changed_pair
from .drawing import render
from .questions import MAKERS, Entry, describe_thing, make_question
from .scene import APART, SIDE, Scene, draw_scene


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
    """The entry with GQA's pointers from words (counted from 0, split at spaces) to objects of the scene graph."""
    ids = {thing.shape: thing.id for thing in scene.things}

    def pointers(text: str) -> dict[str, str]:
        words = (word.strip("?,.").lower() for word in text.split())
        return {str(index): ids[word] for index, word in enumerate(words) if word in ids}

    fields = {"question": "question", "answer": "answer", "fullAnswer": "fullAnswer"}
    return entry | {"annotations": {key: pointers(str(entry[field])) for key, field in fields.items()}}


def scene_questions(scene: Scene, seed: int) -> Iterator[tuple[str, Entry]]:
    """One question of each task that the scene allows for, with its id."""
    rng = np.random.default_rng([seed, int(scene.id), 1])
    for number, task in enumerate(MAKERS):
        if entry := make_question(scene, task, rng):
            yield f"{int(scene.id):06d}{number}", _annotated({"imageId": scene.id} | entry, scene)


def _drawn(images: int, seed: int, changed: bool) -> Iterator[tuple[Scene, dict[str, Entry]]]:
    """Each scene with its questions, by id."""
    for index in with_progress(range(images), "drawing", images, "scenes"):
        if not changed:
            scene = draw_scene(index, seed)
            yield scene, dict(scene_questions(scene, seed))
            continue
        for shown, entry in changed_pair(index, seed, images):
            yield shown, {f"{int(shown.id):06d}0": _annotated({"imageId": shown.id} | entry, shown)}


def write_scenes(folder: Path, images: int, seed: int, contrast: float = 1.0, *, changed: bool = False) -> None:
    """Write the first scenes of the family `seed`: `sceneGraphs.json`, `questions.json`, `images/{id}.png`, and
    `region_descriptions.json` in the layout of Visual Genome.

    Args:
        folder: into which they are written.
        images: number of scenes.
        seed: of the family.
        contrast: that of `render`.
        changed: whether each scene is drawn a second time with one attribute changed; see `changed_pair`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Entry] = {}
    questions: dict[str, Entry] = {}
    regions = []
    for scene, asked in _drawn(images, seed, changed):
        render(scene, contrast).save(folder / "images" / f"{scene.id}.png")
        graphs[scene.id] = scene_graph(scene)
        questions.update(asked)
        regions.append({"id": int(scene.id), "regions": [{"phrase": describe_thing(thing)} for thing in scene.things]})
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs, indent=1))
    (folder / "questions.json").write_text(json.dumps(questions, indent=1))
    (folder / "region_descriptions.json").write_text(json.dumps(regions, indent=1))
