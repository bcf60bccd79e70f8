"""The expected time and memory of a job with a model, which are requested from a cluster.

Work is counted in forwards of the prompt, by the engine's own arithmetic (docs/performance.md has the counts), and in
passes through the layers, each of which takes a fixed time to start, however little it computes. Each probe counts its
own work. Estimates should be too high by a small factor, and in proportion to the real cost; `python
benchmarks/estimates.py` compares them with the measured cost of jobs.
"""

import math

from vlmflow.models.size import BYTES, Size
from vlmflow.probes.cost import DECODED, READ, REPLAYED, Work, forward

# Floating-point operations per second that a job reaches in practice, and fixed costs in seconds.
CPU_SPEED, GPU_SPEED = 6e10, 3e13
LAYER_START = 8e-4
WRITTEN = 6e6  # numbers per second that are written into the store and the table
START, LOADING = 15.0, 2e8  # seconds; bytes of weights per second

# Bytes of main memory for each number of the rows: float32, in the table and in what is read or written.
HELD = 2 * 4

# An expected amount is multiplied by its margin; at least LEAST_MINUTES are requested, and LIBRARIES (MB) are added.
TIME_MARGIN, LEAST_MINUTES = 3.0, 10
MEMORY_MARGIN, LIBRARIES = 1.3, 1200


def answering() -> Work:
    """The work of asking one question."""
    return Work(forward(), 1 + DECODED)


def seconds(work: Work, size: Size, questions: int, *, gpu: bool) -> float:
    """The expected seconds of a job, its start included."""
    computing = work.forwards * size.forward / (GPU_SPEED if gpu else CPU_SPEED)
    starting = work.passes * size.layers * LAYER_START
    writing = work.numbers / WRITTEN
    return START + 2.0 * size.parameters / LOADING + questions * (computing + starting + writing)


def minutes(expected: float, attempt: int = 1) -> int:
    """Minutes to request for a job with these expected seconds; more after each failure."""
    return attempt * max(LEAST_MINUTES, math.ceil(TIME_MARGIN * expected / 60))


def megabytes(size: Size, dtype: str, *, gpu: bool, attempt: int = 1, numbers: int = 0) -> int:
    """Main memory to request, in megabytes; more after each failure.

    With a GPU, weights only pass through main memory. On the CPU they stay there, beside a recording and the largest
    batch. The rows of all questions, with so many `numbers`, are held until their table is written.
    """
    weights = size.parameters * BYTES[dtype]
    wide = BYTES[dtype]
    recording = 3 * size.layers * size.tokens * size.width * wide
    batch = 12 * REPLAYED * size.width * wide
    logits = 4 * READ * size.vocabulary * 4
    needed = HELD * numbers + (weights if gpu else weights + recording + batch + logits)
    return attempt * (LIBRARIES + math.ceil(MEMORY_MARGIN * needed / 1e6))
