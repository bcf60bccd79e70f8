"""The chapters of the report, to which probes belong."""

from enum import StrEnum


class Chapter(StrEnum):
    """The chapters into which the report groups the figures of probes, in its order."""

    KNOCKOUT = "Which attention is needed"
    PATCHING = "Which states carry the answer"
    DECODED = "What states decode to"
    ATTENTION = "Where attention lies"
    STATES = "How states are related"
    TOKENS = "Which parts of the image are needed"
