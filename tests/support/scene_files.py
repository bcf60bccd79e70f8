"""Drawn scenes as files in GQA's layout, and what is read of them."""

import json

import pytest

from support.paths import TINY_LLAVA
from vlmflow.data import scenes
from vlmflow.data.gqa.reader import read_questions
from vlmflow.models.processor import load_processor
from vlmflow.tables import QUESTIONS, SKIPPED


@pytest.fixture
def scene_folder(tmp_path):
    """Questions, scene graphs and images of a few drawn scenes."""
    scenes.write_scenes(tmp_path, images=4, seed=0)
    return tmp_path


@pytest.fixture(scope="module")
def tiny_processor():
    return load_processor(TINY_LLAVA)


def files_of(folder):
    """(questions, scene graphs) as they are written."""
    return [json.loads((folder / name).read_text()) for name in ("questions.json", "sceneGraphs.json")]


def read_files(folder, questions, graphs):
    """(problem by question id, skipped reasons by question id) of files in GQA's layout, given as text or objects."""
    for name, content in (("questions.json", questions), ("sceneGraphs.json", graphs)):
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    rows, skipped = rows_of(folder)
    QUESTIONS.write(rows, folder / "q.parquet")
    SKIPPED.write(skipped, folder / "s.parquet")
    skipped = SKIPPED.read(folder / "s.parquet")
    problems = dict(QUESTIONS.read(folder / "q.parquet").select("question_id", "problem").rows())
    return problems, dict(skipped.select("question_id", "reason").rows())


def rows_of(folder):
    """(rows, skipped) of the files as the reader has them."""
    return read_questions(folder / "questions.json", folder / "sceneGraphs.json")
