"""A question as a probe gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vlmflow.data.sampling import correct_answer
from vlmflow.prompts.layouts.base import Box
from vlmflow.prompts.segments import Patches


@dataclass(frozen=True)
class QuestionObject:
    """An object that the question is about.

    Attributes:
        name: as the question calls it.
        box: (x, y, width, height) in pixels of the original image; None where the image does not show it.
        attributes: as annotated.
    """

    name: str
    box: Box | None
    attributes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Its name and attributes."""
        return [self.name, *self.attributes]


@dataclass(frozen=True)
class Question:
    """A row of the table `task`, with all that a probe's job knows about it.

    Attributes:
        id, image_id: in the source.
        image: path of the image.
        image_size: (width, height) in pixels for which the boxes were drawn; None where they are not known.
        text: the question.
        answer: the reference answer, or somebody's description.
        correct_answer: the answer that is correct; None where many are, as for descriptions.
        options: (true option, false option), where there are two.
        objects: what the question is about.
        captions: of the image, for models that read these.
        patches: which image tokens are related patches; None where no box has patches.
        sinks: numbers of the attention sinks among the image tokens; None where the probe asks for none.
        token_ids: of the model's own answer.
        in_detail: whether this is one of the questions on which the probe measures more, as `timed` and `examples` say.
    """

    id: str
    image_id: str
    image: str
    image_size: tuple[int | None, int | None]
    text: str
    answer: str
    correct_answer: str | None
    options: tuple[str, str] | None
    objects: tuple[QuestionObject, ...]
    captions: str | None
    patches: Patches | None
    sinks: list[int] | None
    token_ids: list[int]
    in_detail: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """A question from its row of the table `task`; columns that are joined to it may be missing."""
        options = (row["true_option"], row["false_option"])
        related = row.get("related")
        return cls(
            id=row["question_id"],
            image_id=row["image_id"],
            image=row["image"],
            image_size=(row["width"], row["height"]),
            text=row["question"],
            answer=row["answer"],
            correct_answer=correct_answer(dict(row)),
            options=options if options[0] is not None else None,
            objects=tuple(_object(each) for each in row["objects"]),
            captions=row["captions"],
            patches=Patches(row["tokens"], related, row["no_patch"]) if related is not None else None,
            sinks=row.get("sinks"),
            token_ids=row.get("token_ids") or [],
            in_detail=bool(row.get("in_detail")),
        )


def _object(entry: Mapping[str, Any]) -> QuestionObject:
    box = (entry["x"], entry["y"], entry["w"], entry["h"]) if entry["x"] is not None else None
    return QuestionObject(entry["name"], box, tuple(entry["attributes"] or ()))
