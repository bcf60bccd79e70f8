"""The questions of [flow], as its authors published them: one CSV file for each task, with boxes and dense captions."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmflow.errors import DatasetError
from vlmflow.settings import Sha256, Url

from .answer_match import squeezed
from .base import Dataset, Download, Files, ImageSource, OwnPath, UserPath, paths_of
from .entries import SAME_ID, Answer, Pixels, Rows, absent_object, malformed, skipped_entry
from .gqa import GQA_URL, gqa_images

# The questions of [flow], in its authors' repository.
PAPER_URL = (
    "https://raw.githubusercontent.com/FightingFighting/cross-modal-information-flow-in-MLLM/"
    "c9a1111dac4baa175f67716fab473789320187c0/datasets"
)
# File → sha256.
PAPER_FILES = {
    f"GQA_val_correct_question_with_{name}.csv": sha256
    for name, sha256 in {
        "choose_ChooseAttr": "3ecef9b8462b2098a54341a57c6d96699bb7518632e4047a61242540dd93a73b",
        "categoryThatThisChoose_objThisChoose_ChooseCat": (
            "ebb7f5faddeddaa2f06dbb81b838c3dbad7530284198cbcd337626773a79aef8"
        ),
        "relChooser_ChooseRel": "0bbc45d9c9b609409f30d7ecf9be6f2957347c4cdcc5480b531ae0b8ef5282c0",
        "twoCommon_CompareAttr": "ac1e9fc073e286c3657f32b103f4c7a16e4be07b391718f0bb7245f87b2e51c4",
        "existThatOr_LogicalObj": "946eb47be4aa9a7f9b4f6b10804c1bb5f8da4f29d0a1c3129eac465b0ea28d19",
        "positionQuery_QueryAttr": "0a61bdd561748f9cc59577f2becc162941fb6f9f1e0abb9b1ea3702759e9245d",
    }.items()
}
FOLDER = "resources/gqa-paper"

FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*\.csv$")]

ABSENT = "-"  # in the files, for an object that is not in the image
PREFIXES = ("central object", "object1", "object2")


class GqaPaperDataset(Dataset):
    """The questions that [flow] analyses, as its authors published them, on images of GQA."""

    source: Literal["gqa-paper"]
    base_url: Url = Field(PAPER_URL, description="Address of the folder of the question files.")
    gqa_url: Url = Field(GQA_URL, description="Address of the folder of GQA's archive of images.")
    sha256: dict[FileName, Sha256] = Field(
        PAPER_FILES, min_length=1, description="File → its checksum; these files are read."
    )
    images_dir: UserPath | None = Field(None, description="Folder of {image id}.jpg, .png, …, used in place.")

    @property
    def has_captions(self) -> bool:
        """True: the files hold dense captions."""
        return True

    def files(self) -> Files:
        """One file for each task."""
        return {"questions": [f"{FOLDER}/{name}" for name in self.sha256]}

    def downloads(self) -> dict[str, Download]:
        """Each file by its checksum."""
        return {
            f"{FOLDER}/{name}": Download(f"{self.base_url}/{name}", sha256=sha256)
            for name, sha256 in self.sha256.items()
        }

    def addresses(self) -> dict[str, str]:
        """The address of GQA's images, if they are fetched."""
        return {"GQA": self.gqa_url} if self.images_dir is None else {}

    def image_source(self) -> ImageSource:
        """The user's folder, or GQA's archive of images."""
        return gqa_images(self.gqa_url, self.images_dir)

    def own_paths(self) -> list[OwnPath]:
        """The folder of images, if it is the user's."""
        return [OwnPath("images_dir", self.images_dir, "folder")] if self.images_dir is not None else []

    def read(self, files: Files) -> Rows:
        """A row for each question, with its boxes, options and captions."""
        return read_paper_questions(paths_of(files, "questions"))


class PaperQuestion(BaseModel):
    """The columns that all of the files have."""

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


def read_paper_questions(files: list[Path]) -> Rows:
    """Rows of the tables `questions` and `skipped`: every row of the files is in one of the two.

    Raises:
        DatasetError: a file is missing or is not a CSV file with these columns.
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
    # Some images have very long lists of captions.
    csv.field_size_limit(10**8)
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            # If it were not strict, a quote that is never closed would make one cell of the rest of the file.
            reader = csv.DictReader(text, strict=True)
            names = list(reader.fieldnames or [])
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise DatasetError(f"{file}: the column(s) {', '.join(twice)} are given twice; keep the correct one")
            if missing := set(PaperQuestion.model_fields) - set(names):
                raise DatasetError(f"{file}: the column(s) {', '.join(sorted(missing))} are missing")
            yield from reader
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file; expected questions as CSV") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file}: this is not a CSV file in UTF-8 ({error}); expected questions as CSV") from error


def _row(entry: PaperQuestion, raw: dict[str, str]) -> dict[str, Any]:
    problems: list[str] = []
    options = [squeezed(raw.get(f"{kind} option") or "") for kind in ("true", "false")]
    if entry.type_structural == "choose" and not all(options):
        problems.append("the file does not name two options")
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
