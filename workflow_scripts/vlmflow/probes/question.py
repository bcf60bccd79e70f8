"""The question type that probes receive."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from vlmflow.data.answers import correct_answer
from vlmflow.prompts.layouts.patch_map import Box, Patches


@dataclass(frozen=True)
class QuestionObject:
    """An object that the question is about.

    Attributes:
        name: its name in the question.
        box: (x, y, width, height) in pixels of the original image; None if the image does not show the object.
        attributes: as annotated.
    """

    name: str
    box: Box | None
    attributes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The object's name and attributes."""
        return [self.name, *self.attributes]


@dataclass(frozen=True)
class Question:
    """A row of the table `task`, with everything that a probe's job knows about the question.

    Attributes:
        id, image_id: in the source.
        image: path of the image.
        image_size: (width, height) in pixels of the image for which the boxes were drawn; None if not known.
        text: the question.
        answer: the reference answer, or a person's description.
        correct_answer: the correct answer; None if many answers are correct, as for descriptions.
        options: (true option, false option); None if the question has no options.
        objects: the objects that the question is about.
        captions: captions of the image, for models that read captions.
        patches: which image tokens are related patches; None if no box has patches.
        sinks: numbers of the attention sinks among the image tokens; None if the probe needs no sinks.
        token_ids: token ids of the model's own answer.
        in_detail: whether the probe measures more on this question; see the keys `timed` and `examples`.
        task: its name in the study file; a measurement does not depend on it.
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
    task: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """A question from its row of the table `task`; columns that other tables add may be missing."""
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
            task=row.get("task") or "",
        )


def unrelated(questions: Sequence[Question], question: Question) -> Iterator[Question]:
    """The questions about another image: those before this one, the nearest first; then those after it.

    In this order, questions that a larger sample adds at the end are read last, so that the measurements of the smaller
    one stay valid.
    """
    index = next(number for number, other in enumerate(questions) if other.id == question.id)
    for other in (*reversed(questions[:index]), *questions[index + 1 :]):
        if other.image_id != question.image_id:
            yield other


def _object(entry: Mapping[str, Any]) -> QuestionObject:
    box = (entry["x"], entry["y"], entry["w"], entry["h"]) if entry["x"] is not None else None
    return QuestionObject(entry["name"], box, tuple(entry["attributes"] or ()))
