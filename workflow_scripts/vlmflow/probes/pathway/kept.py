"""Interventions that keep only some edges, in some layers, and block all other attention between segments."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from vlmflow.edges import Edge
from vlmflow.engine.interventions import BlockedPairs, Intervention, Together
from vlmflow.errors import NotApplicableError
from vlmflow.prompts.build import Prompt


@dataclass(frozen=True)
class Cell:
    """An edge in the layers `start` … `stop` − 1."""

    edge: str
    start: int
    stop: int


class Regions:
    """A prompt divided into regions, between which attention is blocked but for the cells that are kept.

    The regions are the image (with all tokens up to the question) or the caption in its place, the question, the
    template and the last position.  Attention within a region is never blocked, nor that to the tokens before the
    image: these come before everything that a question is about, so they carry none of it.

    Args:
        prompt: of any model.
        may_attend: (N, N) True where a position attends to another one in some layer of the intact model.

    Raises:
        NotApplicableError: the question comes before the image.
    """

    def __init__(self, prompt: Prompt, may_attend: Tensor) -> None:
        self.prompt, self.length = prompt, len(prompt)
        shown = "image" if "image" in prompt.segments else "caption"
        first, question, last = (int(prompt.positions(name)[0]) for name in (shown, "question", "last"))
        template = int(prompt.positions("question")[-1]) + 1
        if not first < question:
            raise NotApplicableError(f"the question comes before the {shown}, so they are no regions in this order")
        ends = [first, question, template, last, self.length]
        names = (shown, "question", "template", "last")
        self.positions = {name: torch.arange(*ends[number : number + 2]) for number, name in enumerate(names)}
        region = torch.full((self.length,), -1)
        for number, positions in enumerate(self.positions.values()):
            region[positions] = number
        # In some models, positions of the image attend to those of the question as well.
        self.between = (region[:, None] != region) & (region[:, None] >= 0) & (region >= 0) & may_attend
        self._blocked: dict[frozenset[str], Tensor] = {}

    def intervention(self, cells: Iterable[Cell], layers: int, recurrent: Collection[int] = ()) -> Intervention | None:
        """The intervention that keeps only these cells; None if it blocks nothing.

        Args:
            cells: edges between segments of the prompt, in layers; the segments that are regions stand for these.
            layers: number of the model's layers.
            recurrent: numbers of those without attention.

        Raises:
            PromptError: the prompt does not have a segment.
        """
        kept = list(cells)
        attending = [number for number in range(layers) if number not in recurrent]
        edges = {
            number: frozenset(cell.edge for cell in kept if cell.start <= number < cell.stop) for number in attending
        }
        parts: list[Intervention] = []
        for _, span in groupby(attending, key=lambda number: edges[number]):
            numbers = list(span)
            if (blocked := self.blocked(edges[numbers[0]])).any():
                parts.append(BlockedPairs(blocked, numbers[0], numbers[-1] + 1))
        return None if not parts else parts[0] if len(parts) == 1 else Together(parts)

    def blocked(self, edges: frozenset[str]) -> Tensor:
        """(N, N) True where a position must not attend to another one if only these edges are kept."""
        if edges not in self._blocked:
            blocked = self.between.clone()
            for edge in map(Edge.parse, sorted(edges)):
                targets, sources = self._of(edge.target), self._of(edge.source)
                blocked[targets[:, None], sources] = False
            self._blocked[edges] = blocked
        return self._blocked[edges]

    def _of(self, segment: str) -> Tensor:
        return self.positions[segment] if segment in self.positions else self.prompt.positions(segment)
