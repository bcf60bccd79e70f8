"""Attention weights and norms between segments; [thesis]."""

from typing import Literal

from pydantic import Field

from vlmflow.probes.base import AskedProbe
from vlmflow.settings import Edges

ATTENTION_EDGES = [
    "image -> image",
    "image -> question",
    "question -> question",
    "image -> template",
    "question -> template",
    "image -> last",
    "question -> last",
    "template -> last",
]


class AttentionProbe(AskedProbe):
    """Attention weights, and norms of what they carry, between segments, at every layer."""

    kind: Literal["attention"]
    edges: Edges = Field(ATTENTION_EDGES, description="Each as 'source -> target'; or all.")
