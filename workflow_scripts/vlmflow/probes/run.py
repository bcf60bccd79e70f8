"""From a row of the tables to a prompt, an answer, a measurement."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import polars as pl
import torch

from vlmflow.data.sampling import correct_answer, is_correct
from vlmflow.data.spelling import AnswersMatch
from vlmflow.edges import Edge
from vlmflow.engine.batch_size import ran_out, release_memory
from vlmflow.engine.modules import find_module
from vlmflow.errors import (
    GeometryError,
    InterventionError,
    JobError,
    ModelError,
    NotApplicableError,
    PromptError,
    QuestionError,
    RetryableQuestionError,
    TableError,
)
from vlmflow.models.model import LanguageModel
from vlmflow.probes import Probe
from vlmflow.prompts.build import Prompt
from vlmflow.tables import PROBE_TABLES

from .context import Asking, Row, prompt_of
from .measure import OWN_WORDS, measure, measure_worded


@contextmanager
def of_one_question() -> Iterator[None]:
    """Tell what goes wrong with one question from what goes wrong with the machine.

    Raises:
        QuestionError: this question cannot be measured.
        NotApplicableError: there is nothing to measure.
        RetryableQuestionError: it does not fit into this machine's memory.
        JobError: the device has failed, and would fail all others.
    """
    try:
        yield
    except (NotApplicableError, GeometryError) as error:
        # Of a model without a patch map there are no patches to look at, which is no failure.
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


def answer_question(vlm: LanguageModel, row: Row, instruction: str, match: AnswersMatch = "strict") -> Row:
    """A row of the table `answers`; `match` says when an answer is right.

    Raises:
        QuestionError: the question cannot be asked, or the model's answer is no number.
    """
    with of_one_question():
        answer = vlm.answer(prompt_of(vlm, row, instruction))
    return {
        "question_id": row["question_id"],
        "image_id": row["image_id"],
        "predicted": answer.text,
        "answer": row["answer"],
        "correct": is_correct(answer.text, correct_answer(row), match),
        "probability": answer.probability,
        "token_ids": answer.token_ids,
    }


def prober(
    vlm: LanguageModel,
    probe: Probe,
    name: str,
    instruction: str,
    leave_out: Callable[[str, str], None],
    questions: Sequence[Row] = (),
    match: AnswersMatch = "strict",
) -> Callable[[Row], pl.DataFrame]:
    """What to do with a question row to get the rows of it of the probe called `name`.

    An edge whose segments this question does not have (a box outside of what the model sees, no options) is left out
    for this question, and `leave_out` is told the question's id and why; its other edges are measured.  `questions` are
    all of the job's, for probes that compare a question with others; `match` says when an answer is right.

    Raises:
        ModelError: the probe asks for more layers than the model has, or for a module that its layers do not have.
    """
    for key, asked in probe.layers_asked.items():
        if asked > len(vlm.layers):
            raise ModelError(f"probes.{name}.{key}: {asked} is more than the {len(vlm.layers)} layers of the model")
    for module in getattr(probe, "modules", ()):
        try:
            find_module(vlm.layers[0], module)
        except InterventionError as error:
            raise ModelError(f"probes.{name}.modules: {error}") from error
    room = len(getattr(probe, "prompts", ())) * (getattr(probe, "partners", 0) + 2)
    asking = Asking(vlm, instruction, questions, room, match)

    def rows_of(row: Row) -> pl.DataFrame:
        told = partial(leave_out, row["question_id"])
        if isinstance(probe, OWN_WORDS):
            return measure_worded(asking, probe, row, told)
        prompt = prompt_of(vlm, row, instruction)
        absent = {edge: why for edge in probe.edges_asked if (why := _why_absent(prompt, edge))}
        for edge, why in absent.items():
            leave_out(row["question_id"], f"{edge}: {why}")
        fitting = probe
        if absent:
            left = [str(edge) for edge in probe.edges_asked if edge not in absent]
            if not left and not getattr(probe, "modules", None):
                raise NotApplicableError("no edge of the probe is left")
            fitting = probe.model_copy(update={"edges": left})
        return measure(asking, prompt, fitting, row, told)

    table, _ = PROBE_TABLES[probe.kind]

    def work(row: Row) -> pl.DataFrame:
        with of_one_question():
            return table.frame(
                rows_of(row).with_columns(question_id=pl.lit(row["question_id"]), image_id=pl.lit(row["image_id"]))
            )

    return work


def _why_absent(prompt: Prompt, edge: Edge) -> str | None:
    """Why an edge does not apply to a question; None where it does."""
    try:
        sources, targets = prompt.positions(edge.source), prompt.positions(edge.target)
    except PromptError as error:
        return str(error)
    if targets.max() < sources.min():
        return f"all of {edge.target!r} stands before {edge.source!r} in this question, and attends to none of it"
    return None
