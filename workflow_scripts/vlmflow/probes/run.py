"""Run a probe on question rows, or ask a model their questions."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import torch

from vlmflow.data.sampling import is_correct
from vlmflow.data.spelling import AnswersMatch
from vlmflow.engine.batch_size import ran_out, release_memory
from vlmflow.errors import (
    GeometryError,
    InterventionError,
    JobError,
    NotApplicableError,
    PromptError,
    QuestionError,
    RetryableQuestionError,
    TableError,
)
from vlmflow.models.model import LanguageModel
from vlmflow.tables import Skipped

from .base import Probe
from .context import ProbeContext, prompt_of
from .question import Question


@contextmanager
def of_one_question() -> Iterator[None]:
    """Turn errors inside of the block into errors that skip one question and errors that stop the job.

    Raises:
        QuestionError: this question cannot be measured.
        NotApplicableError: there is nothing to measure on this question.
        RetryableQuestionError: this question does not fit into the machine's memory.
        JobError: the device has failed, so that no other question could be measured.
    """
    try:
        yield
    except (NotApplicableError, GeometryError) as error:
        # A model without a patch map has no patches to measure; this is not a failure.
        raise NotApplicableError(str(error)) from error
    except (PromptError, InterventionError, TableError) as error:
        raise QuestionError(str(error)) from error
    except RuntimeError as error:
        if ran_out(error):
            why = str(error).splitlines()[0]
            traceback.clear_frames(error.__traceback__)
            release_memory()
            raise RetryableQuestionError(
                f"memory ran out, even for the smallest batch ({why}); a device with more memory, a smaller dtype, or "
                "`gpus: 2` may help"
            ) from None
        if isinstance(error, torch.AcceleratorError) or any(name in str(error) for name in BROKEN_DEVICE):
            raise JobError(f"the device has failed: {error}") from error
        raise


# How libraries below PyTorch report a device that can no longer be used.
BROKEN_DEVICE = ("CUDA error", "HIP error", "CUBLAS_STATUS", "CUDNN_STATUS")


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


class ProbeRun:
    """A probe with one model and the questions of one job; a call with a question row returns the probe's rows.

    A part that does not apply to a question, such as an edge whose segment the prompt does not have, is skipped, and
    the other parts are measured.
    """

    def __init__(
        self,
        vlm: LanguageModel,
        probe: Probe,
        name: str,
        *,
        instruction: str = "",
        questions: Sequence[Question] = (),
        match: AnswersMatch = "strict",
    ) -> None:
        """Prepare a run.

        Args:
            vlm: the model.
            probe: the probe, as the study file has it.
            name: its name in the study file.
            instruction: text after each question.
            questions: all questions of the job, for probes that compare a question with others.
            match: when an answer counts as correct.

        Raises:
            ModelError: the model has too few layers for the probe, or lacks a module that it names.
        """
        probe.check_model(name, vlm)
        self.probe = probe
        self.context = ProbeContext(vlm, instruction, questions, match, probe.cache_size)

    @property
    def skipped(self) -> list[Skipped]:
        """The parts of questions that were skipped so far."""
        return self.context.skipped

    def __call__(self, row: Mapping[str, Any]) -> pl.DataFrame:
        """The probe's rows for a question row; see `measure`."""
        return self.measure(Question.of(row))

    def measure(self, question: Question) -> pl.DataFrame:
        """The probe's rows for one question.

        Raises:
            QuestionError: this question cannot be measured.
            JobError: no other question could be measured either.
        """
        with of_one_question():
            rows = self.probe.measure(self.context, question)
            return self.probe.table.frame(
                rows.with_columns(question_id=pl.lit(question.id), image_id=pl.lit(question.image_id))
            )
