"""OK-VQA: open questions that need knowledge, on images of COCO 2014."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from vlmflow.settings import Url

from .base import Download, Files, path_of
from .coco import VAL_2014, CocoDataset
from .entries import Loose, Rows, each_once, malformed, named, read_entries
from .open_questions import majority, open_question

OKVQA_URL = "https://okvqa.allenai.org/static/data"
FOLDER = "resources/ok-vqa"
# Purpose of a file of the validation split → its name; the name of its archive has .zip behind it.
MEMBERS = {
    "questions": "OpenEnded_mscoco_val2014_questions.json",
    "annotations": "mscoco_val2014_annotations.json",
}


class OkVqaDataset(CocoDataset):
    """OK-VQA, validation split: open questions that need knowledge, on images of COCO 2014."""

    source: Literal["ok-vqa"]
    base_url: Url = Field(
        OKVQA_URL, description="Address of the folder of the archives of questions and of annotations."
    )

    image_name = VAL_2014

    def files(self) -> Files:
        """Questions, and annotations with their answers."""
        return {what: f"{FOLDER}/{member}" for what, member in MEMBERS.items()}

    def downloads(self) -> dict[str, Download]:
        """Each file out of an archive of its own."""
        return {f"{FOLDER}/{member}": Download(f"{self.base_url}/{member}.zip", member) for member in MEMBERS.values()}

    def addresses(self) -> dict[str, str]:
        """The addresses of questions and images."""
        return {"OK-VQA": self.base_url} | super().addresses()

    def read(self, files: Files) -> Rows:
        """A row for each question; its correct answer is the one that most people gave."""
        return read_ok_vqa(path_of(files, "questions"), path_of(files, "annotations"))


class OkVqaQuestion(Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)


class GivenAnswer(Loose):
    answer: str


class OkVqaAnnotation(Loose):
    question_id: str
    question_type: str = ""
    answers: list[GivenAnswer] = Field(min_length=1)


def read_ok_vqa(questions: Path, annotations: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file of questions is in one of the two.

    Raises:
        DatasetError: a file is missing, or is not laid out as OK-VQA's.
    """
    answers: dict[str, OkVqaAnnotation | ValidationError] = {}
    repeated = set()
    for name, raw in named(read_entries(annotations, "annotations"), "question_id"):
        if name in answers:
            repeated.add(name)
        try:
            answers[name] = OkVqaAnnotation.model_validate(raw)
        except ValidationError as error:
            answers[name] = error
    rows, skipped = [], []
    for name, raw in named(read_entries(questions, "questions"), "question_id"):
        try:
            entry, given = OkVqaQuestion.model_validate(raw), answers.get(name)
            if isinstance(given, ValidationError):
                raise given
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        answer = majority(each.answer for each in given.answers) if given else None
        problem = None if answer else f"{annotations.name} has no answer to this question"
        if name in repeated:
            problem = f"{annotations.name} has several annotations of this question; keep the correct one"
        question_type = given.question_type if given else ""
        rows.append(open_question(entry.question_id, entry.image_id, entry.question, answer, question_type, problem))
    return each_once(rows, skipped)
