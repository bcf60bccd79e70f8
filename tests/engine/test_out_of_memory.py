"""Memory that runs out: batches get smaller, and results stay."""

import subprocess
import sys

import pytest
import torch

from support.paths import random_llava
from support.random_prompts import EDGES
from support.random_prompts import prompt_with_words as prompt_of
from vlmflow.engine import batch_size, replay
from vlmflow.engine.batch_size import AdaptiveBatchSize, ran_out
from vlmflow.errors import OutOfMemoryError, RetryableQuestionError
from vlmflow.probes.knockout.measure import knockout
from vlmflow.probes.one_question import of_one_question

pytestmark = pytest.mark.usefixtures("frozen_heap")


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
