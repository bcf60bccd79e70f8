"""The tables of the workflow except those of probes: columns with types and units, checked when a table is written."""

from vlmflow.errors import TableError, WriteError

from .base import Column, Table
from .cost import COST
from .questions import (
    ACCURACY,
    ANSWERS,
    CANDIDATES,
    PATCHES,
    QUESTIONS,
    SELECTED,
    SKIPPED,
    TASK,
    VIEWS,
    Skipped,
    full_reason,
)
from .writing import atomic_write, check_writable

__all__ = [
    "ACCURACY",
    "ANSWERS",
    "CANDIDATES",
    "COST",
    "PATCHES",
    "QUESTIONS",
    "SELECTED",
    "SKIPPED",
    "TASK",
    "VIEWS",
    "Column",
    "Skipped",
    "Table",
    "TableError",
    "WriteError",
    "atomic_write",
    "check_writable",
    "full_reason",
]
