"""What a job with a model is expected to cost: time and memory, so that a cluster can be asked for them.

Work is counted in forwards of the prompt, by the engine's own arithmetic (docs/performance.md has the counts), and in
passes through the layers, each of which takes time to start whatever there is to compute; each probe knows its own.
Estimates are meant to be generous by a small factor and right in proportion; `python benchmarks/estimates.py` compares
them with what jobs took.
"""

import math

from vlmflow.models.size import BYTES, Size
from vlmflow.probes.cost import DECODED, READ, REPLAYED, Work, forward

# Floating-point operations per second that a job really gets, and seconds that no arithmetic explains.
CPU_SPEED, GPU_SPEED = 6e10, 3e13
LAYER_START = 8e-4
START, LOADING = 15.0, 2e8  # seconds; bytes of weights per second

# Margins: the amount requested is so many times what is expected, and at least the minutes and megabytes here.
TIME_MARGIN, LEAST_MINUTES = 3.0, 10
MEMORY_MARGIN, LIBRARIES = 1.3, 1200


def answering() -> Work:
    """The work of asking one question."""
    return Work(forward(), 1 + DECODED)


def seconds(work: Work, size: Size, questions: int, *, gpu: bool) -> float:
    """How many seconds a job is expected to take, its start included."""
    computing = work.forwards * size.forward / (GPU_SPEED if gpu else CPU_SPEED)
    starting = work.passes * size.layers * LAYER_START
    return START + 2.0 * size.parameters / LOADING + questions * (computing + starting)


def minutes(expected: float, attempt: int = 1) -> int:
    """Minutes to request for a job that is expected to take so many seconds; more after each failure."""
    return attempt * max(LEAST_MINUTES, math.ceil(TIME_MARGIN * expected / 60))


def megabytes(size: Size, dtype: str, *, gpu: bool, attempt: int = 1) -> int:
    """Memory of the machine to request, in megabytes; more after each failure.

    On a GPU the weights only pass through it; on the CPU they stay, with what a forward leaves and the largest batch.
    """
    weights = size.parameters * BYTES[dtype]
    wide = BYTES[dtype]
    recording = 3 * size.layers * size.tokens * size.width * wide
    batch = 12 * REPLAYED * size.width * wide
    logits = 4 * READ * size.vocabulary * 4
    needed = weights if gpu else weights + recording + batch + logits
    return attempt * (LIBRARIES + math.ceil(MEMORY_MARGIN * needed / 1e6))
