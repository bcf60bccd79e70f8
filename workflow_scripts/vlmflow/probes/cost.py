"""What a probe's measurement costs, in forwards of a usual prompt: the arithmetic that several probes share.

docs/performance.md has the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmflow.edges import Edge
from vlmflow.models.size import QUESTION, TEMPLATE, Size

ENCODER = 0.3  # forwards that the image encoder takes
DECODED = 4  # tokens of a usual answer
# Tokens that are replayed, and states that are read, at a time. The engine and the models have their own constants,
# which cannot be imported without torch.
REPLAYED, READ = 4096, 512


@dataclass(frozen=True)
class Work:
    """What is computed for one question.

    Attributes:
        forwards: of its prompt, the image encoder's included.
        passes: through all layers, each of which takes time to start, whatever it computes.
    """

    forwards: float
    passes: float


def forward() -> float:
    """Forwards of one recording of a prompt, the image encoder's included."""
    return 1 + ENCODER


def encoder_forward() -> float:
    """Forwards of encoding an image once."""
    return ENCODER


def text_share(size: Size) -> float:
    """The share of a prompt's tokens that stand after the image."""
    return (QUESTION + TEMPLATE) / size.tokens


def truncated_share(size: Size, image_tokens: int) -> float:
    """The share of a prompt's tokens that is left where only so many of the image's tokens are kept."""
    return (QUESTION + TEMPLATE + image_tokens) / size.tokens


def replayed_shares(edges: Sequence[Edge], size: Size) -> float:
    """The sum over edges of the share of the prompt that one knockout computes: the tokens from the target on."""
    shares = {"last": 1 / size.tokens, "template": TEMPLATE / size.tokens, "image": 1.0}
    return sum(shares.get(edge.target, text_share(size)) for edge in edges)


def question_tokens() -> int:
    """Tokens of a usual question."""
    return QUESTION


def unembedding(size: Size) -> float:
    """Forwards of reading one position of all layers through the unembedding."""
    return 2.0 * size.layers * size.width * size.vocabulary / size.forward


def weighing_attention() -> Work:
    """The work of attention weights and norms of every pair of positions, beside those that the model itself makes."""
    return Work(3 * forward(), 5)
