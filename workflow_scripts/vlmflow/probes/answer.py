"""A model's answer to a question, as a row of the table `answers`."""

from typing import Any

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.data.answers import is_correct
from vlmflow.models.vision_language import LanguageModel

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
        "question_id": question.id,
        "image_id": question.image_id,
        "predicted": answer.text,
        "answer": question.answer,
        "correct": is_correct(answer.text, question.correct_answer, match),
        "probability": answer.probability,
        "token_ids": answer.token_ids,
    }
