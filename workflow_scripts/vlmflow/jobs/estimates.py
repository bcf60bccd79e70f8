"""What a job with a model is going to cost: time and memory, so that a cluster can be asked for them.

Work is counted in forwards of the prompt, by the engine's own arithmetic (docs/performance.md has the counts), and in
passes through the layers, each of which costs time to start whatever there is to compute.  Estimates are meant to be
generous by a small factor and right in proportion; `python benchmarks/estimates.py` holds them to what jobs took.
"""

import math
from dataclasses import dataclass

from vlmflow.edges import Edge
from vlmflow.models.size import BYTES, QUESTION, TEMPLATE, Size
from vlmflow.probes import (
    AttentionMapProbe,
    AttentionProbe,
    BudgetProbe,
    KnockoutProbe,
    NormsProbe,
    PlacesProbe,
    Probe,
    PruningProbe,
    SimilarityProbe,
    VisualLensProbe,
    WordsProbe,
)

# Floating-point operations per second that a job really gets, and seconds that no arithmetic explains.
CPU_SPEED, GPU_SPEED = 6e10, 3e13
LAYER_START = 8e-4
START, LOADING = 15.0, 2e8  # seconds; bytes of weights per second
DECODED = 4  # tokens of a usual answer

ENCODER = 0.3

# Margins: what is asked for is so many times what is expected, and never less than the minutes and megabytes here.
TIME_MARGIN, LEAST_MINUTES = 3.0, 10
MEMORY_MARGIN, LIBRARIES = 1.3, 1200
REPLAYED, READ = 4096, 512  # tokens and states that run at a time, see `replay` and `models`

EDGES_OF_ALL = 47


@dataclass(frozen=True)
class Work:
    """What is computed for one question: forwards of its prompt, and passes through all layers."""

    forwards: float
    passes: float


def answering() -> Work:
    """The work of asking a question."""
    return Work(1 + ENCODER, 1 + DECODED)


def work_of(probe: Probe, size: Size, questions: int) -> Work:
    """The work of a probe for one question; `questions` are those of the job."""
    forwards, passes = 1 + ENCODER, 1.0
    match probe:
        case KnockoutProbe():
            rows = _rows(probe.edges_asked, size) if probe.edges != "all" else [_of_suffix(size) / 2] * EDGES_OF_ALL
            windows = len(probe.window)
            # Each layer has a row, which on average runs through half of the layers.
            forwards += windows * size.layers * sum(rows) / 2
            passes += 2 + windows * size.layers * sum(rows) * size.tokens / REPLAYED
        case WordsProbe():
            knocked_out = len(probe.modules) + len(probe.edges_asked)
            forwards += knocked_out * (size.layers * _of_suffix(size) / 2 + QUESTION * _reading(size))
            passes += knocked_out * size.layers * QUESTION / READ + 2
        case NormsProbe():
            forwards, passes = 2 * ENCODER, 1
        case PruningProbe():
            timed = min(1.0, probe.timed / max(1, questions)) * len(probe.last) * 4
            forwards += 1 + timed
            passes += 3 + timed * (1 + DECODED)
        case SimilarityProbe():
            forwards *= len(probe.prompts)
            passes = 4 * len(probe.prompts)
        case AttentionProbe() | AttentionMapProbe():
            # Weights and norms of each pair of positions are made beside those that the model makes.
            forwards, passes = 3 * forwards, 5
        case VisualLensProbe():
            prompts = len(probe.instructions) * len(probe.places)
            forwards = prompts * (forwards + size.image_tokens * _reading(size))
            passes = prompts * (1 + size.image_tokens / READ)
        case BudgetProbe():
            numbers = [2**power for power in range(max(0, size.image_tokens - 1).bit_length())]
            draws = sum(probe.draws if way == "random" else 1 for way in probe.keep)
            shares = sum(QUESTION + TEMPLATE + number for number in numbers) / size.tokens
            forwards = len(probe.prompts) * (forwards + _of_suffix(size) + draws * shares)
            passes = len(probe.prompts) * (2 + draws * len(numbers))
        case PlacesProbe():
            forwards += 0.6 * probe.grid**2
            passes += probe.grid**2  # each begins at another position
    return Work(forwards, passes)


def _rows(edges: list[Edge], size: Size) -> list[float]:
    """Of each edge, the share of the prompt that one knockout computes: what stands from its target on."""
    shares = {"last": 1 / size.tokens, "template": TEMPLATE / size.tokens, "image": 1.0}
    return [shares.get(edge.target, _of_suffix(size)) for edge in edges]


def _of_suffix(size: Size) -> float:
    return (QUESTION + TEMPLATE) / size.tokens


def _reading(size: Size) -> float:
    """Forwards that it costs to read one position of all layers through the unembedding."""
    return 2.0 * size.layers * size.width * size.vocabulary / size.forward


def seconds(work: Work, size: Size, questions: int, *, gpu: bool) -> float:
    """How long a job is expected to take, its start included."""
    computing = work.forwards * size.forward / (GPU_SPEED if gpu else CPU_SPEED)
    starting = work.passes * size.layers * LAYER_START
    return START + 2.0 * size.parameters / LOADING + questions * (computing + starting)


def minutes(expected: float, attempt: int = 1) -> int:
    """What to ask for, of so many expected seconds; more after each failure."""
    return attempt * max(LEAST_MINUTES, math.ceil(TIME_MARGIN * expected / 60))


def megabytes(size: Size, dtype: str, *, gpu: bool, attempt: int = 1) -> int:
    """Memory of the machine to ask for; more after each failure.

    On a GPU the weights only pass through it; on the CPU they stay, with what a forward leaves and the largest batch.
    """
    weights = size.parameters * BYTES[dtype]
    wide = BYTES[dtype]
    recording = 3 * size.layers * size.tokens * size.width * wide
    batch = 12 * REPLAYED * size.width * wide
    logits = 4 * READ * size.vocabulary * 4
    needed = weights if gpu else weights + recording + batch + logits
    return attempt * (LIBRARIES + math.ceil(MEMORY_MARGIN * needed / 1e6))
