"""The cost of a measurement in forwards of a usual prompt: the arithmetic that several probes share.

docs/performance.md has the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmflow.edges import SEGMENTS, Edge
from vlmflow.models.size import QUESTION, TEMPLATE, Size

ENCODER = 0.3  # forwards that the image encoder takes
DECODED = 4  # tokens of a usual answer
# Number of tokens that are replayed at a time, and of states that are read at a time. These are copies, since the
# constants of the engine and the models cannot be imported without torch.
REPLAYED, READ = 4096, 512


@dataclass(frozen=True)
class Work:
    """The computation for one question.

    Attributes:
        forwards: number of forwards of its prompt, including the image encoder's.
        passes: number of passes through all layers; each pass takes time to start, however little it computes.
        numbers: how many are written into the store and the table, if they are many; the job holds those of all
            questions.
    """

    forwards: float
    passes: float
    numbers: int = 0


def forward() -> float:
    """The cost of recording a prompt once, including the image encoder, in forwards."""
    return 1 + ENCODER


def encoder_forward() -> float:
    """The cost of encoding an image once, in forwards."""
    return ENCODER


def text_share(size: Size) -> float:
    """The share of a prompt's tokens that come after the image."""
    return (QUESTION + TEMPLATE) / size.tokens


def truncated_share(size: Size, image_tokens: int) -> float:
    """The share of a prompt's tokens that remains if only `image_tokens` of the image's tokens are kept."""
    return (QUESTION + TEMPLATE + image_tokens) / size.tokens


def replayed_shares(edges: Sequence[Edge], size: Size) -> float:
    """The sum over edges of the share of the prompt that one knockout computes: all tokens from the target on."""
    shares = {"last": 1 / size.tokens, "template": TEMPLATE / size.tokens, "image": 1.0}
    return sum(shares.get(edge.target, text_share(size)) for edge in edges)


def question_tokens() -> int:
    """The number of tokens of a usual question."""
    return QUESTION


def segment_tokens(segment: str, size: Size) -> int:
    """The number of positions of a segment in a usual prompt; for a part of image or question, that of all of it."""
    rank = SEGMENTS.get(segment, SEGMENTS["question"])  # of a study's own segment, only a prompt tells
    return (size.image_tokens, TEMPLATE, QUESTION, TEMPLATE, 1)[rank]


def unembedding(size: Size) -> float:
    """The cost of reading one position in all layers through the unembedding, in forwards."""
    return 2.0 * size.layers * size.width * size.vocabulary / size.forward


def weighing_attention() -> Work:
    """The work of a forward that also computes the attention weight and norm of every pair of positions."""
    return Work(3 * forward(), 5)
