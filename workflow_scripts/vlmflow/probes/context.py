"""From rows of the tables to prompts: a question as it is, in other words, or beside questions that it has nothing to
do with."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlmflow.data.open_image import open_picture
from vlmflow.data.sampling import correct_answer
from vlmflow.data.spelling import AnswersMatch
from vlmflow.errors import PromptError, QuestionError
from vlmflow.models.model import LanguageModel, VisionLanguageModel
from vlmflow.prompts.build import Patches, Prompt
from vlmflow.prompts.layouts.base import Box

Row = dict[str, Any]


def prompt_of(vlm: LanguageModel, row: Row, instruction: str) -> Prompt:
    """The prompt of a question row that carries its row of the table `patches`, or nulls where it has none."""
    names = [item["name"] for item in row["objects"]]
    options = (row["true_option"], row["false_option"]) if row["true_option"] is not None else None
    if correct_answer(row) is None:
        instruction = ""  # on how to answer a question, which has no place where a description is asked for
    try:
        if not isinstance(vlm, VisionLanguageModel):
            if row["captions"] is None:
                raise PromptError("the dataset has no captions of its picture")
            return vlm.caption_prompt(row["captions"], row["question"], names, options, instruction=instruction)
        # The boxes have become patches already; here the objects are only words of the question.
        objects: dict[str, list[Box]] = {name: [] for name in names}
        known = row.get("related") is not None
        return vlm.prompt(
            open_picture(row["image"]),
            row["question"],
            objects=objects,
            options=options,
            patches=Patches(row["tokens"], row["related"], row["no_patch"]) if known else None,
            sinks=row.get("sinks"),
            instruction=instruction,
        )
    except PromptError as error:
        raise QuestionError(str(error)) from error


@dataclass(frozen=True)
class Asking:
    """What a probe needs that words its prompts itself, or compares a question with others.

    Attributes:
        vlm: the model.
        instruction: text after each question.
        questions: all rows of the job.
        room: of so many questions what was found is kept for their neighbours.
        match: when what the model says is the right answer.
    """

    vlm: Any  # a LanguageModel; probes about pictures are run on those that read them
    instruction: str
    questions: Sequence[Row]
    room: int = 64
    match: AnswersMatch = "strict"
    kept: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def keep(self, key: Hashable, found: Any) -> None:
        """Keep what was found under a key, and let go of what is oldest."""
        self.kept[key] = found
        while len(self.kept) > self.room:
            self.kept.popitem(last=False)

    def worded(self, row: Row, text: str) -> Prompt:
        """The question's picture with another text: one of a study's `prompts`, with its places filled.

        The model's instruction, on how to answer questions, follows only where the question itself is part of it.

        Raises:
            PromptError: the question has no object to put into the text, or the text cannot be asked.
        """
        named = next((item["name"] for item in row["objects"]), None)
        if named is None and "{object}" in text:
            raise PromptError(f"the question is about no object that could stand in {text!r}")
        said = text.format(question=row["question"], answer=row["answer"], object=named)
        follows = "{question}" in text and correct_answer(row) is not None
        return self.vlm.prompt(open_picture(row["image"]), said, instruction=self.instruction if follows else "")

    def unrelated(self, row: Row) -> Iterator[Row]:
        """The other questions of the job that are about another picture, from the next one on and round."""
        place = next(n for n, other in enumerate(self.questions) if other["question_id"] == row["question_id"])
        for other in (*self.questions[place + 1 :], *self.questions[:place]):
            if other["image_id"] != row["image_id"]:
                yield other
