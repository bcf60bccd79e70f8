"""Questions of a job that fail: which cost only themselves, are measured once more, or stop the job."""

import weakref

import polars as pl
import pytest
import torch

from vlmflow.errors import GeometryError, JobError, NotApplicableError, QuestionError
from vlmflow.jobs.job import ENOUGH, for_each_question
from vlmflow.probes.one_question import of_one_question
from vlmflow.tables import SKIPPED, Skipped

pytestmark = pytest.mark.usefixtures("frozen_heap")

QUESTIONS = pl.DataFrame({"task": ["T", "T", "U"], "question_id": ["a", "b", "c"]})
WHERE = {"stage": "flow", "model": "m"}


def fails(**errors):
    """Work that fails at some questions."""

    def work(row):
        with of_one_question():
            if error := errors.get(row["question_id"]):
                raise error
        return row["question_id"]

    return work


OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def test_one_question_that_does_not_fit_is_left_out():
    done, account = for_each_question(QUESTIONS, fails(b=OUT), **WHERE)
    assert done == ["a", "c"]
    (reason,) = account["reason"]
    assert "memory ran out, even for the smallest batch (CUDA out of memory. Tried to allocate 2.00 GiB.)" in reason
    assert "gpus: 2" in reason


def test_a_question_that_ran_out_of_memory_is_measured_once_more():
    """Another program may have had the memory for a while; the order stays."""
    asked = []

    def work(row):
        asked.append(row["question_id"])
        with of_one_question():
            if row["question_id"] == "a" and asked.count("a") == 1:
                raise OUT
        return row["question_id"]

    done, account = for_each_question(QUESTIONS, work, **WHERE)
    assert asked == ["a", "b", "c", "a"]
    assert done == ["a", "b", "c"]
    assert len(account) == 0


class Large:
    """Stands for what was computed before memory ran out."""


def test_nothing_of_a_question_that_did_not_fit_is_kept():
    kept = []

    def work(row):
        assert not any(reference() for reference in kept), "the one before is still there"
        with of_one_question():
            large = Large()
            kept.append(weakref.ref(large))
            if row["question_id"] == "c":
                raise IndexError(str(large))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(JobError):
        for_each_question(QUESTIONS, work, **WHERE)
    assert len(kept) == 5


def test_a_job_in_which_no_question_fits_fails():
    with pytest.raises(JobError, match=r"none of the 3 questions could be .*\(2 of them for this reason\): memory"):
        for_each_question(QUESTIONS, fails(a=OUT, b=OUT, c=QuestionError("no image")), **WHERE)


def test_an_error_of_all_questions_stops_the_job():
    with pytest.raises(JobError, match=r"none of the 3 questions .* \(all for this reason\): no image"):
        for_each_question(QUESTIONS, fails(**dict.fromkeys("abc", QuestionError("no image"))), **WHERE)
    done, account = for_each_question(QUESTIONS.clear(), fails(), **WHERE)
    assert (done, len(account)) == ([], 0)
    assert account.schema == SKIPPED.schema


def test_the_few_questions_of_a_small_shard_may_all_be_broken():
    """Another shard has others; where there are many, or all of the questions, the questions are not the cause."""
    no_image = QuestionError("no image")
    done, account = for_each_question(QUESTIONS, fails(**dict.fromkeys("abc", no_image)), **WHERE, share=True)
    assert done == []
    assert account.select("task", "question_id", "reason").rows() == [
        (task, name, "no image") for task, name in QUESTIONS.rows()
    ]
    names = [f"q{number}" for number in range(ENOUGH)]
    many = pl.DataFrame({"task": "T", "question_id": names})
    with pytest.raises(JobError, match=rf"none of the {ENOUGH} questions .* \(all for this reason\): no image"):
        for_each_question(many, fails(**dict.fromkeys(names, no_image)), **WHERE, share=True)


def test_parts_that_were_skipped_are_rows_of_their_tasks():
    """Once each, though a question that is measured twice may skip a part twice."""
    twice = [Skipped("a", "image -> last", "no image")] * 2
    notes = {"T": twice, "U": [Skipped("c", "image -> last", "no image")]}
    _, account = for_each_question(QUESTIONS, fails(b=QuestionError("no answer")), **WHERE, notes=notes)
    assert account.select("task", "question_id", "what", "reason").rows() == [
        ("T", "b", "", "no answer"),
        ("T", "a", "image -> last", "no image"),
        ("U", "c", "image -> last", "no image"),
    ]
    assert set(account.select("stage", "model").rows()) == {("flow", "m")}


@pytest.mark.parametrize("error", [GeometryError("no patch map"), NotApplicableError("no such part")])
def test_a_question_to_which_nothing_applies_is_no_failure(error):
    def work(row):
        with of_one_question():
            raise error

    done, account = for_each_question(QUESTIONS, work, **WHERE)
    assert done == []
    assert set(account["reason"]) == {str(error)}


def test_nothing_to_measure_is_no_failure():
    no_boxes = NotApplicableError("no boxes")
    done, account = for_each_question(QUESTIONS, fails(a=no_boxes, b=no_boxes, c=QuestionError("no image")), **WHERE)
    assert done == []
    assert account["reason"].to_list() == ["no boxes", "no boxes", "no image"]


def test_an_unexpected_error_costs_one_question(capsys):
    done, account = for_each_question(QUESTIONS, fails(b=IndexError("list index out of range")), **WHERE)
    assert done == ["a", "c"]
    assert account.select("question_id", "reason").rows() == [("b", "unexpected IndexError: list index out of range")]
    told = capsys.readouterr()
    assert "question b:" in told.out
    assert "Traceback" in told.err
    with pytest.raises(JobError, match=r"none of the 3 questions could be measured .*: unexpected KeyError: 'x'"):
        for_each_question(QUESTIONS, fails(**dict.fromkeys("abc", KeyError("x"))), **WHERE)
    assert capsys.readouterr().err.count("Traceback") == 1  # where the code is the same, once is enough


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MemoryError(),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling …"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
        JobError("the model is built in another way"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_an_error_of_the_device_stops_the_job(error):
    with pytest.raises((OSError, MemoryError, JobError)):
        for_each_question(QUESTIONS, fails(b=error), **WHERE)
