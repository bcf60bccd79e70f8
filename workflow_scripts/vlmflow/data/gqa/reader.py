"""Read GQA's files (scene graphs, questions) into one table of questions."""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from vlmflow.data.answer_match import plain, squeezed
from vlmflow.data.entries import (
    SAME_ID,
    Answer,
    KeysOnce,
    Loose,
    Number,
    Pixels,
    Repeated,
    Rows,
    absent_object,
    clean,
    first_mistake,
    malformed,
    named,
    read_json,
    read_lines,
    skipped_entry,
)
from vlmflow.data.published_files import by_lines, problem_with, question_files
from vlmflow.data.region_descriptions import read_captions
from vlmflow.errors import DatasetError

IDS = re.compile(r"[\d,\s]+|-")


class Step(Loose):
    operation: str
    argument: str = ""
    dependencies: list[int] = Field(default_factory=list)


class Types(Loose):
    structural: str
    semantic: str
    detailed: str


class Question(Loose):
    imageId: str  # noqa: N815 (GQA's own spelling)
    question: str = Field(min_length=1)
    answer: Answer
    fullAnswer: str | None = None  # noqa: N815
    types: Types
    semantic: list[Step]
    annotations: Annotated[dict[str, Annotated[Any, KeysOnce]], KeysOnce] = Field(default_factory=dict)


class SceneObject(Loose):
    name: str
    x: Number
    y: Number
    w: Number
    h: Number
    attributes: list[str] = Field(default_factory=list)


class SceneGraph(Loose):
    width: Pixels
    height: Pixels
    objects: Annotated[dict[str, SceneObject], KeysOnce] = Field(default_factory=dict)


@dataclass
class Mention:
    """An object that a program names; no ids where, according to GQA, it is not in the image."""

    name: str
    ids: list[str] = field(default_factory=list)


def read_questions(
    questions: Path | Sequence[Path], scene_graphs: Path | Sequence[Path], regions: Path | None = None
) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the files is in one of the two, and a question
    whose captions cannot be read is in both.

    Args:
        questions, scene_graphs: files or folders of GQA, or in its layout.
        regions: descriptions of regions, which become the images' captions.

    Raises:
        DatasetError: a file is missing or is not a JSON object.
    """
    graphs, several = _graphs(scene_graphs)
    graph_of = functools.cache(lambda image_id: _graph(image_id, graphs, several))
    rows, skipped, earlier = [], [], set()
    for question_id, raw in _entries(questions, "questions by id", ("question_id", "questionId", "id")):
        if isinstance(raw, ValueError):
            skipped.append(skipped_entry(question_id, f"this is not JSON ({raw})"))
            continue
        if not question_id.strip() or clean(question_id) != question_id:
            skipped.append(skipped_entry(question_id, "its id is empty, or not a valid text; give it another id"))
            continue
        if question_id in earlier:
            skipped.append(skipped_entry(question_id, SAME_ID))
            continue
        earlier.add(question_id)
        try:
            rows.append(_row(question_id, Question.model_validate(raw), graph_of))
        except ValidationError as error:
            skipped.append(malformed(question_id, error))
    if regions is not None:
        captions, broken = read_captions(regions, {row["image_id"] for row in rows})
        rows = [row | {"captions": captions.get(row["image_id"])} for row in rows]
        skipped += [
            skipped_entry(row["question_id"], f"its image has no captions, since {broken[row['image_id']]}")
            for row in rows
            if row["image_id"] in broken
        ]
    return rows, skipped


def _graphs(paths: Path | Sequence[Path]) -> tuple[dict[str, Any], set[str]]:
    """(image id → its scene graph, the ids of images that have several)."""
    graphs: dict[str, Any] = {}
    several = set()
    for image_id, graph in _entries(paths, "scene graphs by image id", ("image_id", "imageId", "id")):
        if isinstance(graph, ValueError):
            print(f"{image_id}: this is not JSON ({graph})")
        elif graphs.setdefault(image_id, graph) is not graph:
            several.add(image_id)
    return graphs, several


def _entries(paths: Path | Sequence[Path], what: str, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Id and entry of everything in the files, one file in memory at a time; the error of a line that is not JSON.

    Args:
        paths: files, or folders of them; in a file of lines, each line is such an object or one entry.
        what: description of their content, for messages.
        keys: the keys under which a single entry may have its id.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        if problem := problem_with(path, folders=True):
            raise DatasetError(f"{path}: {problem}; expected {what}")
        found = question_files(path)
        for file in map(Path, [found] if isinstance(found, str) else found):
            yield from (
                _entries_of_lines(file, what, keys)
                if by_lines(file)
                else _entries_of_object(read_json(file, what), file, what)
            )


def _entries_of_object(content: Any, path: Path, what: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected a JSON object ({what}), but the file holds a {type(content).__name__}")
    yield from content.items()
    if isinstance(content, Repeated):
        yield from content.later


def _entries_of_lines(path: Path, what: str, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for number, entry in read_lines(path, f"{what}, one JSON object per line"):
        if isinstance(entry, dict) and (own := [entry[key] for key in keys if key in entry]):
            ((name, _),) = named([{"id": own[0]}], "id")
        elif isinstance(entry, dict) and all(isinstance(value, dict) for value in entry.values()):
            yield from _entries_of_object(entry, path, what)
            continue
        else:
            name = "entry 1"
        yield (f"{path.name}, line {number}" if name == "entry 1" else name), entry


def _row(question_id: str, entry: Question, graphs: Callable[[str], SceneGraph | str]) -> dict[str, Any]:
    problems: list[str] = []
    found = graphs(entry.imageId)
    graph = found if isinstance(found, SceneGraph) else None
    if graph is None:
        problems.append(str(found))
    options = derive_options(entry)
    if options is None and entry.types.structural == "choose":
        problems.append("the program must name two options, and one of them must be the answer")
    return {
        "question_id": question_id,
        "image_id": entry.imageId,
        "width": graph.width if graph else None,
        "height": graph.height if graph else None,
        "question": entry.question,
        "answer": entry.answer,
        "full_answer": entry.fullAnswer,
        "structural": entry.types.structural,
        "semantic": entry.types.semantic,
        "detailed": entry.types.detailed,
        "true_option": options[0] if options else None,
        "false_option": options[1] if options else None,
        "objects": list(_objects(entry, graph, problems)),
        "captions": None,
        "problem": "; ".join(problems) or None,
    }


def _graph(image_id: str, graphs: dict[str, Any], several: set[str]) -> SceneGraph | str:
    """An image's scene graph, or what is wrong with it."""
    if image_id not in graphs:
        return f"there is no scene graph for the image {image_id}"
    if image_id in several:
        return f"there are several scene graphs for the image {image_id}; keep the correct one"
    try:
        return SceneGraph.model_validate(graphs[image_id])
    except ValidationError as error:
        return clean(f"malformed scene graph of {image_id}: {first_mistake(error)}")


def _objects(entry: Question, graph: SceneGraph | None, problems: list[str]) -> Iterator[dict[str, Any]]:
    for mention in derive_mentions(entry) or _annotated(entry, graph):
        if not mention.ids:
            yield absent_object(mention.name)
        for object_id in mention.ids:
            if graph is None:
                continue
            if (found := graph.objects.get(object_id)) is None:
                problems.append(f"the object {object_id} ({mention.name}) is not in the scene graph")
                continue
            box = {"x": found.x, "y": found.y, "w": found.w, "h": found.h}
            yield {"name": mention.name, "id": object_id, **box, "attributes": found.attributes}


def derive_mentions(entry: Question) -> list[Mention]:
    """The objects that the program selects or relates, in its order: `jar (496168)`, `mud (-)`, `chairs (12,13)`,
    `surfer,to the right of|to the left of,s (429128)`."""
    mentions = []
    for step in entry.semantic:
        before, _, inside = step.argument.rstrip().removesuffix(")").rpartition("(")
        name = before.split(",")[0].strip()
        if step.argument.rstrip().endswith(")") and name and "(" not in name and IDS.fullmatch(inside):
            ids = [part.strip() for part in inside.split(",") if part.strip() not in ("", "-")]
            mentions.append(Mention(name, ids))
    return mentions


def _annotated(entry: Question, graph: SceneGraph | None) -> Iterator[Mention]:
    """The objects that GQA's annotations of the question's words point to, for a program that names none."""
    words = entry.annotations.get("question")
    ids = [clean(str(value)) for value in words.values()] if isinstance(words, dict) else []
    for object_id in dict.fromkeys(part.strip() for value in ids for part in value.split(",")):
        thing = graph.objects.get(object_id) if graph else None
        yield Mention(thing.name if thing else object_id, [object_id])


def derive_options(entry: Question) -> tuple[str, str] | None:
    """(true option, false option) of a question that offers two, as its program names them, else None.

    The option of a relation (`to the left of`) is only the word that an answer gives (`left`).
    """
    for step in entry.semantic:
        if not step.operation.startswith("choose"):
            continue
        choice = step.argument
        if step.operation == "choose rel":
            parts = choice.split(",")
            choice = ",".join(parts[1:-1]) if len(parts) >= 3 else choice
        options = [squeezed(option) for option in choice.split("|")]
        if len(options) != 2:
            continue
        if step.operation == "choose rel":
            options = [option if plain(option) == entry.answer else _core(option) for option in options]
        # The options as they are written, since these words are searched in the question.
        if entry.answer in (compared := [plain(option) for option in options]):
            true = compared.index(entry.answer)
            return options[true], options[1 - true]
    return None


def _core(relation: str) -> str:
    """The word by which answers name a relation: `left` of `to the left of`, `front` of `in front of`."""
    return re.sub(r"^(?:to the |in )?(.+?)(?: of)?$", r"\1", relation, flags=re.IGNORECASE)
