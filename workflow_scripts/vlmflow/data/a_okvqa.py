"""A-OKVQA: open questions that need knowledge, on images of COCO 2017."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from vlmflow.settings import Url

from .base import Download, Files, path_of
from .coco import VAL_2017, CocoDataset
from .entries import Loose, Rows, each_once, malformed, named, read_entries
from .open_questions import majority, open_question

AOKVQA_URL = "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa/aokvqa_v1p0.tar.gz"
MEMBER = "aokvqa_v1p0_val.json"
FILE = f"resources/a-okvqa/{MEMBER}"


def _check_archive(url: str) -> str:
    if not urlsplit(url).path.endswith((".tar.gz", ".tgz", ".zip")):
        raise ValueError(f"{url!r} is not the address of a .tar.gz or .zip archive")
    return url


class AOkVqaDataset(CocoDataset):
    """A-OKVQA, validation split: open questions that need knowledge, on images of COCO 2017."""

    source: Literal["a-okvqa"]
    url: Annotated[Url, AfterValidator(_check_archive)] = Field(
        AOKVQA_URL, description="The archive of questions and answers, a .tar.gz or .zip."
    )

    image_name = VAL_2017

    def files(self) -> Files:
        """One file of questions and answers."""
        return {"questions": FILE}

    def downloads(self) -> dict[str, Download]:
        """The file out of the archive."""
        return {FILE: Download(self.url, MEMBER)}

    def addresses(self) -> dict[str, str]:
        """The addresses of questions and images."""
        return {"A-OKVQA": self.url} | super().addresses()

    def read(self, files: Files) -> Rows:
        """A row for each question; its correct answer is the one that most people gave."""
        return read_a_okvqa(path_of(files, "questions"))


class AOkVqaQuestion(Loose):
    question_id: str
    image_id: str
    question: str = Field(min_length=1)
    direct_answers: list[str] = Field(min_length=1)
    difficult_direct_answer: bool = False


def read_a_okvqa(questions: Path) -> Rows:
    """Rows of the tables `questions` and `skipped`: every entry of the file is in one of the two.

    Raises:
        DatasetError: the file is missing or is not laid out as A-OKVQA's.
    """
    rows, skipped = [], []
    for name, raw in named(read_entries(questions, None), "question_id"):
        try:
            entry = AOkVqaQuestion.model_validate(raw)
        except ValidationError as error:
            skipped.append(malformed(name, error))
            continue
        answer = majority(entry.direct_answers)
        problem = None if answer else "the file gives no answer to this question"
        if entry.difficult_direct_answer:
            problem = "its authors mark it as too open for a direct answer"
        rows.append(open_question(entry.question_id, entry.image_id, entry.question, answer, "", problem))
    return each_once(rows, skipped)
