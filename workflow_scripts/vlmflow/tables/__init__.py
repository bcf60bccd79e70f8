"""The tables of the workflow except those of probes: columns with types and units, checked when a table is written."""

from vlmflow.errors import TableError, WriteError

from .base import Column, Table
from .cost import COST
from .explored import EXPLORED
from .models import MODEL
from .questions import (
    ACCURACY,
    ANSWERS,
    CANDIDATES,
    PART_OF,
    PATCHES,
    QUESTIONS,
    SELECTED,
    SKIPPED,
    TASK,
    VIEWS,
    Skipped,
    full_reason,
)
from .shards import Shard, read_models, read_shards, shard_names
from .writing import atomic_write, check_writable

__all__ = [
    "ACCURACY",
    "ANSWERS",
    "CANDIDATES",
    "COST",
    "EXPLORED",
    "MODEL",
    "PART_OF",
    "PATCHES",
    "QUESTIONS",
    "SELECTED",
    "SKIPPED",
    "TASK",
    "VIEWS",
    "Column",
    "Shard",
    "Skipped",
    "Table",
    "TableError",
    "WriteError",
    "atomic_write",
    "check_writable",
    "full_reason",
    "read_models",
    "read_shards",
    "shard_names",
]
