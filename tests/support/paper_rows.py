"""Questions in the format of the paper's files: the real ones where this machine has them, written ones everywhere."""

import ast
import csv
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from support.paths import ROOT
from vlmflow.data import scenes
from vlmflow.data.gqa.reader import Question, derive_mentions, derive_options
from vlmflow.data.gqa_paper import read_paper_questions
from vlmflow.tables import CANDIDATES

# Where a run of studies/flow.yaml leaves them, or wherever else they lie.
FOLDER = Path(os.environ.get("VLMFLOW_GQA_PAPER", ROOT / "resources" / "gqa-paper"))
TASK_FILES = {
    ("choose", "attr"): "choose_ChooseAttr",
    ("choose", "cat"): "categoryThatThisChoose_objThisChoose_ChooseCat",
    ("choose", "rel"): "relChooser_ChooseRel",
    ("compare", "attr"): "twoCommon_CompareAttr",
    ("logical", "obj"): "existThatOr_LogicalObj",
    ("query", "attr"): "positionQuery_QueryAttr",
}
TWO_OBJECTS = {"choose rel", "compare attr", "logical obj"}


def real_files():
    return sorted(FOLDER.glob("GQA_val_correct_question_with_*.csv"))


def file_name(structural, semantic):
    return f"GQA_val_correct_question_with_{TASK_FILES[structural, semantic]}.csv"


def write_gqa(folder, images):
    """Drawn scenes in GQA's layout, JPEG images of several shapes: questions, scene graphs, images/{id}.jpg."""
    scenes.write_scenes(folder, images=images, seed=5)
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    for number, path in enumerate(sorted((folder / "images").glob("*.png"))):
        wider = [(0, 0), (60, 0), (0, 40)][number % 3]
        with Image.open(path) as scene:
            canvas = Image.new("RGB", (scene.width + wider[0], scene.height + wider[1]), "gray")
            canvas.paste(scene)
        canvas.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
        graphs[path.stem] |= {"width": canvas.width, "height": canvas.height}
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs))


def write_paper_files(gqa, folder):
    """The questions of a folder that `write_gqa` wrote, as the paper's files: file name → number of rows."""
    questions = json.loads((gqa / "questions.json").read_text())
    graphs = json.loads((gqa / "sceneGraphs.json").read_text())
    rows = {}
    for question_id, entry in questions.items():
        types = entry["types"]
        if (types["structural"], types["semantic"]) in TASK_FILES:
            row = paper_row(question_id, entry, graphs[entry["imageId"]])
            rows.setdefault(file_name(types["structural"], types["semantic"]), []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in rows.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    return {name: len(content) for name, content in rows.items()}


def paper_row(question_id, entry, graph):
    question = Question.model_validate(entry)
    types = question.types
    row = {
        "question_id": question_id,
        "img_id": entry["imageId"],
        "question": entry["question"],
        "answer": entry["answer"],
        "type_detailed": types.detailed,
        "type_semantic": types.semantic,
        "type_structural": types.structural,
        "operations": repr(entry["semantic"]),
        "captions": "a gray ground. some shapes .",
        "image_w": graph["width"],
        "image_h": graph["height"],
    }
    if options := derive_options(question):
        row |= {"true option": options[0], "false option": options[1]}
    mentions = derive_mentions(question)
    names = ["object1", "object2"] if f"{types.structural} {types.semantic}" in TWO_OBJECTS else ["central object"]
    for prefix, mention in zip(names, mentions, strict=False):
        thing = graph["objects"][mention.ids[0]] if mention.ids else dict.fromkeys("xywh", "-")
        row |= {f"{prefix} name": mention.name, f"{prefix} id": mention.ids[0] if mention.ids else "-"}
        row |= {f"{prefix} {side}": thing[side] for side in "xywh"}
    return row


def derived(raw):
    """What the parser of GQA finds in a paper row's question and program: (objects as (name, ids), options)."""
    types = {name: raw[f"type_{name}"] for name in ("structural", "semantic", "detailed")}
    entry = {"imageId": raw["img_id"], "question": raw["question"], "answer": raw["answer"], "types": types}
    # The files hold the program as Python writes a list.
    question = Question.model_validate(entry | {"semantic": ast.literal_eval(raw["operations"])})
    return [(mention.name, mention.ids) for mention in derive_mentions(question)], derive_options(question)


def table(files):
    rows, skipped = read_paper_questions(files)
    assert not skipped
    return rows


@pytest.fixture
def paper_candidates(tmp_path):
    """(candidates of the paper's files, folder of their images)."""
    write_gqa(tmp_path / "gqa", images=6)
    write_paper_files(tmp_path / "gqa", tmp_path / "files")
    rows = [{k: v for k, v in row.items() if k != "problem"} for row in table(sorted((tmp_path / "files").iterdir()))]
    return CANDIDATES.frame(rows), tmp_path / "gqa" / "images"
