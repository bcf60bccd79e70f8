"""A model's answer to a question, as a row of the table `answers`."""

from typing import Any

import polars as pl

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.data.answers import is_correct
from vlmflow.models.vision_language import LanguageModel
from vlmflow.tables import ANSWERS, Skipped

from .context import prompt_of
from .one_question import of_one_question
from .question import Question


def answer_question(
    vlm: LanguageModel, question: Question, instruction: str = "", match: AnswersMatch = "strict"
) -> dict[str, Any]:
    """A row of the table `answers`.

    Args:
        vlm: the model.
        question: the question that it is asked.
        instruction: text after the question.
        match: when an answer counts as correct.

    Raises:
        QuestionError: the question cannot be asked, or the model's logits are not finite numbers.
    """
    with of_one_question():
        answer = vlm.answer(prompt_of(vlm, question, instruction))
    return {
        "task": question.task,
        "question_id": question.id,
        "image_id": question.image_id,
        "predicted": answer.text,
        "answer": question.answer,
        "correct": is_correct(answer.text, question.correct_answer, match),
        "probability": answer.probability,
        "token_ids": answer.token_ids,
        "tokens": answer.tokens,
        "token_probabilities": answer.token_probabilities,
    }


class AnswerRun:
    """Asks one model questions; see `vlmflow.probes.stored.Run`."""

    def __init__(self, vlm: LanguageModel, instruction: str, match: AnswersMatch) -> None:
        self._asked = (vlm, instruction, match)
        self.skipped: list[Skipped] = []
        self.read: list[Question | None] = []

    def measure(self, question: Question) -> pl.DataFrame:
        """The row of the table `answers` for one question."""
        vlm, instruction, match = self._asked
        return ANSWERS.frame([answer_question(vlm, question, instruction, match)])
