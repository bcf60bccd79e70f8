"""The search for the smallest set of cells that keeps most answers: greedy backward elimination in rounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .kept import Cell

CellSet = Sequence[Cell]


@dataclass(frozen=True)
class Kept:
    """What is left under some sets of cells.

    Attributes:
        answers: (questions, sets) whether the answer stays the same.
        log_prob: (questions, sets) change of its log-probability, nats.
    """

    answers: np.ndarray
    log_prob: np.ndarray


@dataclass(frozen=True)
class SmallestSet:
    """The result of a search.

    Attributes:
        order: all cells; each set of the first n of them is what the search has left after it removed the others.
        size: number of cells in the smallest set that keeps enough answers: the first `size` ones.
    """

    order: tuple[Cell, ...]
    size: int

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The smallest set."""
        return self.order[: self.size]


def smallest_set(cells: CellSet, measure: Callable[[Sequence[CellSet]], Kept], keep: float) -> SmallestSet:
    """The smallest set that greedy elimination finds; without any one of its cells, it keeps less than `keep` percent.

    A round measures each remaining cell's removal by itself, sorts the cells by what this costs, and then removes as
    many of the cheapest ones together as leave `keep` percent of the answers; a cell that is redundant only while
    another one is there is seen in the next round.  So a round takes two passes over the questions, however many cells
    it removes.

    Args:
        cells: the cells of the set with which the search begins.
        measure: what sets of cells leave.
        keep: percentage of the answers.
    """
    left, removed = list(cells), list[Cell]()
    while left:
        singles = measure([[other for other in left if other != cell] for cell in left])
        share, log_prob = 100 * singles.answers.mean(axis=0), singles.log_prob.mean(axis=0)
        cheapest = sorted(range(len(left)), key=lambda number: (-share[number], -log_prob[number], number))
        left = [left[number] for number in cheapest]
        together = measure([left[number:] for number in range(1, len(left) + 1)])
        enough = np.flatnonzero(100 * together.answers.mean(axis=0) >= keep)
        if not len(enough):
            break
        removed += left[: enough[-1] + 1]
        left = left[enough[-1] + 1 :]
    return SmallestSet((*reversed(left), *reversed(removed)), len(left))
