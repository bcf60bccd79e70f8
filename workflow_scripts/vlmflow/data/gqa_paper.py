"""Read the question files that the authors of [flow] published: one CSV file a task, with boxes and dense captions."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmflow.errors import DatasetError

from .entries import SAME_ID, Answer, Pixels, absent_object, malformed, skipped_entry
from .spelling import squeezed

ABSENT = "-"  # as the files say that the picture does not show an object
PREFIXES = ("central object", "object1", "object2")


class PaperQuestion(BaseModel):
    """The columns that every one of the files has."""

    model_config = ConfigDict(extra="ignore")

    question_id: str = Field(min_length=1)
    img_id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: Answer
    type_structural: str
    type_semantic: str
    type_detailed: str
    image_w: Pixels
    image_h: Pixels


def read_paper_questions(files: list[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables `questions` and `skipped`: every row of the files is in one of the two.

    Raises:
        DatasetError: a file is missing or is no CSV file with these columns.
    """
    rows: dict[str, dict[str, Any]] = {}
    skipped = []
    for file in files:
        for number, raw in enumerate(_records(Path(file)), 1):
            name = raw["question_id"] or f"{Path(file).name}, row {number}"
            if None in raw:
                skipped.append(
                    skipped_entry(name, "its row has more cells than there are columns; is a quote missing?")
                )
                continue
            try:
                row = _row(PaperQuestion.model_validate(raw), raw)
            except ValidationError as error:
                skipped.append(malformed(name, error))
                continue
            if name in rows:
                skipped.append(skipped_entry(name, SAME_ID))
            else:
                rows[name] = row
    return list(rows.values()), skipped


def _records(file: Path) -> Iterator[dict[str, str]]:
    # Some pictures have very long lists of captions.
    csv.field_size_limit(10**8)
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            # Not strict, it would take a file whose quote is never closed to its end for one cell.
            reader = csv.DictReader(text, strict=True)
            names = list(reader.fieldnames or [])
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise DatasetError(f"{file}: the column(s) {', '.join(twice)} stand there twice; keep the right one")
            if missing := set(PaperQuestion.model_fields) - set(names):
                raise DatasetError(f"{file}: without the column(s) {', '.join(sorted(missing))}")
            yield from reader
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file; expected questions as CSV") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: this is no CSV file in UTF-8 ({error}); expected questions as CSV") from error


def _row(entry: PaperQuestion, raw: dict[str, str]) -> dict[str, Any]:
    problems: list[str] = []
    options = [squeezed(raw.get(f"{kind} option") or "") for kind in ("true", "false")]
    if entry.type_structural == "choose" and not all(options):
        problems.append("the file names no two options")
    return {
        "question_id": entry.question_id,
        "image_id": entry.img_id,
        "width": entry.image_w,
        "height": entry.image_h,
        "question": entry.question,
        "answer": entry.answer,
        "full_answer": raw.get("full answer") or None,
        "structural": entry.type_structural,
        "semantic": entry.type_semantic,
        "detailed": entry.type_detailed,
        "true_option": options[0] or None,
        "false_option": options[1] or None,
        "objects": list(_objects(raw, problems)),
        "captions": raw.get("captions") or None,
        "problem": "; ".join(problems) or None,
    }


def _objects(raw: dict[str, str], problems: list[str]) -> Iterator[dict[str, Any]]:
    for prefix in PREFIXES:
        name = raw.get(f"{prefix} name")
        if not name or name == ABSENT:
            continue
        if raw.get(f"{prefix} id") in (None, "", ABSENT):
            yield absent_object(name)
            continue
        try:
            box = {side: float(raw[f"{prefix} {side}"]) for side in "xywh"}
        except (KeyError, TypeError, ValueError):
            problems.append(f"the box of {prefix} ({name}) is not four numbers")
            yield absent_object(name)
            continue
        yield {"name": name, "id": raw[f"{prefix} id"], **box, "attributes": []}
