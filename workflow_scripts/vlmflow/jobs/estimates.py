"""What a job with a model is going to cost: time and memory, so that a cluster can be asked for them.

Work is counted in forwards of the prompt, by the engine's own arithmetic (docs/performance.md has the counts), and in
passes through the layers, each of which costs time to start whatever there is to compute.  Estimates are meant to be
generous by a small factor and right in proportion; `python benchmarks/estimates.py` holds them to what jobs took.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vlmflow.edges import Edge
from vlmflow.models.diagnose import read_config
from vlmflow.study import (
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

# Tokens of the question and the template behind it; what decoding and an image encoder cost beside a forward.
QUESTION, TEMPLATE = 15, 30
ENCODER = 0.3

# Margins: what is asked for is so many times what is expected, and never less than the minutes and megabytes here.
TIME_MARGIN, LEAST_MINUTES = 3.0, 10
MEMORY_MARGIN, LIBRARIES = 1.3, 1200
REPLAYED, READ = 4096, 512  # tokens and states that run at a time, see `replay` and `models`

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
EDGES_OF_ALL = 47


@dataclass(frozen=True)
class Size:
    """What of a model's size its cost depends on.

    Attributes:
        parameters: all of them, the image encoder's included.
        layers, width, vocabulary: of the decoder.
        image_tokens: of the largest picture.
    """

    parameters: int
    layers: int
    width: int
    vocabulary: int
    image_tokens: int

    @classmethod
    def of(cls, config: Mapping[str, Any], weights: int) -> Self:
        """By a model's configuration and the bytes of its weight files; where it does not say, what a large model has.

        Of models that cut a picture as they find it, what LLaVA-NeXT makes at most of one is taken.
        """
        text = config.get("text_config") or config
        stored = config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype")
        return cls(
            parameters=weights // BYTES.get(str(stored), 2),
            layers=text.get("num_hidden_layers") or 40,
            width=text.get("hidden_size") or 5120,
            vocabulary=text.get("vocab_size") or 32_000,
            image_tokens=_image_tokens(config),
        )

    def saved(self) -> dict[str, int]:
        """As `Size(**…)` reads it."""
        return asdict(self)

    @property
    def tokens(self) -> int:
        """Of a prompt."""
        return self.image_tokens + QUESTION + TEMPLATE

    @property
    def forward(self) -> float:
        """Floating-point operations of one forward of a prompt."""
        return 2.0 * self.parameters * self.tokens


# Where nothing is known yet: LLaVA-1.5-13b with LLaVA-NeXT's pictures.
LARGE = Size(parameters=13_000_000_000, layers=40, width=5120, vocabulary=32_000, image_tokens=2880)


def _image_tokens(config: Mapping[str, Any]) -> int:
    """Of the largest picture, by the names that the families of models have for it; none of a model without eyes."""
    vision = config.get("vision_config")
    if not vision:
        return 0 if "vision_config" not in config else LARGE.image_tokens
    for name in ("num_query_tokens", "mm_tokens_per_image"):
        if isinstance(config.get(name), int):
            return int(config[name])
    size, patch = (_side(vision.get(name)) for name in ("image_size", "patch_size"))
    if not (size and patch):
        return int(config.get("image_seq_length") or LARGE.image_tokens)
    views = [1, *(1 + math.ceil(h * w / size**2) for h, w in config.get("image_grid_pinpoints") or [])]
    merged = config.get("scale_factor") or 1  # so many patches a side become one token
    return max(views) * int(size / patch / merged) ** 2


def _side(value: Any) -> float:
    """A number, or the larger of two; 0 where there is none."""
    sides = value if isinstance(value, list | tuple) else [value]
    return float(max((side for side in sides if isinstance(side, int | float)), default=0))


def folder_size(folder: Path) -> Size:
    """Of a model in a folder as `save_pretrained` writes it."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Size.of(read_config(folder), weights)


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
