"""Every table of the workflow that is not a probe's own: its columns, their types and units, checked when written."""

from vlmflow.errors import TableError, WriteError

from .base import Column, Table, check_room, whole
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
    "check_room",
    "full_reason",
    "whole",
]
