"""Memory that runs out: batches get smaller, results stay, and only what cannot fit at all is left out."""

import gc
import subprocess
import sys
import weakref

import polars as pl
import pytest
import torch

from support.paths import random_llava
from support.random_prompts import EDGES
from support.random_prompts import prompt_with_words as prompt_of
from vlmflow.engine import batch_size, replay
from vlmflow.engine.batch_size import AdaptiveBatchSize, ran_out
from vlmflow.errors import (
    GeometryError,
    JobError,
    NotApplicableError,
    OutOfMemoryError,
    QuestionError,
    RetryableQuestionError,
)
from vlmflow.jobs.job import for_each_question
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.one_question import of_one_question


@pytest.fixture(autouse=True, scope="module")
def frozen_heap():
    """Each time that memory runs out, garbage is collected: not among all that the libraries hold."""
    gc.freeze()
    yield
    gc.unfreeze()


class SmallDevice:
    """Lets a model's layers run on no more than so many tokens at a time, as a device's memory does."""

    def __init__(self, vlm, tokens):
        self.most = 0
        for layer in vlm.layers:
            layer.register_forward_pre_hook(self.check)
        self.tokens = tokens

    def check(self, _, inputs):
        tokens = inputs[0].shape[0] * inputs[0].shape[1]
        if tokens > self.tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …")
        self.most = max(self.most, tokens)


def test_a_smaller_device_gives_the_same(capsys):
    vlm, small = (random_llava(layers=4, grid=3, seed=1) for _ in range(2))
    prompt = prompt_of(vlm, [], 3)
    whole = knockout(vlm, prompt, EDGES, 3)
    device = SmallDevice(small, tokens=len(prompt) + 3)
    halved = knockout(small, prompt, EDGES, 3)
    assert device.most <= len(prompt) + 3
    assert small.replay_batch_size.size < replay.TOKENS_PER_BATCH
    assert "memory ran out" in capsys.readouterr().out
    for column in ("p_base", "p_knockout"):
        torch.testing.assert_close(*(torch.tensor(rows[column]) for rows in (whole, halved)), rtol=1e-10, atol=1e-14)
    # It is found out once, and kept in mind.
    size = small.replay_batch_size.size
    knockout(small, prompt, EDGES, 3)
    assert small.replay_batch_size.size == size
    assert "memory ran out" not in capsys.readouterr().out


@pytest.mark.parametrize("tokens", [1, 7, 100, 5000])
def test_batches_are_halved_until_they_fit(tokens):
    batches, tried = AdaptiveBatchSize(4096), []

    def work(size):
        tried.append(size)
        if size > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return size

    assert batches.run(work, most=4096) == batches.size <= tokens
    assert tried == [4096 >> step for step in range(len(tried))]


def test_no_attempt_is_made_that_would_be_the_same():
    batches, tried = AdaptiveBatchSize(4096), []

    def work(size):
        tried.append(size)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(OutOfMemoryError, match="size 60"):
        batches.run(work, most=480, smallest=60)
    assert tried == [4096, 240, 120, 60]


def test_a_larger_batch_is_tried_again_after_a_while(monkeypatch):
    """What was too large may have been the question."""
    monkeypatch.setattr(batch_size, "PATIENCE", 3)
    batches, limit, sizes = AdaptiveBatchSize(64), 16, []

    def work(size):
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append(size)

    for _ in range(3):
        batches.run(work, most=64)
    limit = 64
    for _ in range(9):
        batches.run(work, most=64)
    assert sizes[:3] == [16] * 3
    assert sizes[-1] == batches.size == 64


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
    ],
)
def test_every_librarys_error_for_exhausted_memory_is_recognised(text):
    assert ran_out(RuntimeError(text))
    with pytest.raises(RetryableQuestionError), of_one_question():
        raise RuntimeError(text)


def test_other_errors_are_raised():
    with pytest.raises(RuntimeError, match="shapes"):
        AdaptiveBatchSize(8).run(lambda _: (_ for _ in ()).throw(RuntimeError("shapes do not match")), most=8)
    assert not ran_out(ValueError("CUDA out of memory."))


def test_states_are_decoded_in_smaller_batches_too(monkeypatch):
    vlm = random_llava(layers=2, grid=2)
    states = torch.randn(40, 16, dtype=torch.float64)
    whole = vlm.read(states, lambda logits: logits.softmax(-1))
    logits = vlm.logits

    def small(part, **how):
        if len(part) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return logits(part, **how)

    monkeypatch.setattr(vlm, "logits", small)
    torch.testing.assert_close(vlm.read(states, lambda logits: logits.softmax(-1)), whole, rtol=1e-12, atol=0)
    assert vlm.read_batch_size.size == 5


def test_batches_get_smaller_when_real_memory_runs_out():
    """The CPU's, of a process that may not have more."""
    code = """
import resource, torch
from vlmflow.engine.batch_size import AdaptiveBatchSize
torch.set_num_threads(1)
torch.ones(10).sum()
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 600 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
batches = AdaptiveBatchSize(2**30)  # of 4 bytes each
print(batches.run(lambda size: torch.ones(size).sum().item(), most=2**30))
print(batches.size)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    total, size = done.stdout.splitlines()[-2:]
    assert float(total) == int(size) == 2**27 or float(total) == int(size) == 2**26


# --- questions of a job ---

QUESTIONS = pl.DataFrame({"question_id": ["a", "b", "c"]})
WHERE = {"stage": "flow", "task": "T", "model": "m"}


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
