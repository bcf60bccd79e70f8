"""Methods of others, each by hooks and by replay: the same changed forwards in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from plain_hooks import HookedLlava, Run, edge_runs, head_runs, only_runs, patch_runs
from torch import Tensor

from vlmflow.edges import FLOW_EDGES, EdgeGroup
from vlmflow.engine.interventions import HeadAblation, Intervention, StatePatch
from vlmflow.engine.recording import Recording
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes.knockout.measure import edge_knockouts
from vlmflow.probes.logit_attribution.measure import logit_attribution
from vlmflow.probes.pathway import layer_blocks
from vlmflow.probes.pathway.kept import Cell, Regions
from vlmflow.prompts.build import Prompt

HEAD_EDGES = ("image -> question", "question -> last")
KEPT_EDGES = ("image -> question", "question -> last", "image -> last")
BLOCKS = 4  # of layers, in each of which an edge is kept or not
PATCHED = ("image", "question", "last")


@dataclass(frozen=True)
class Question:
    """The prompt of a question, that of the same question about another image of the same size, and the answer's first
    token."""

    prompt: Prompt
    other: Prompt
    token: int


@dataclass(frozen=True)
class Hooked:
    """A method for one question: logits of the forward whose answer is followed, those of the forward that is changed,
    and the changed ones."""

    answering: Tensor
    intact: Tensor
    runs: list[Run]

    def numbers(self, step: int) -> Tensor:
        """The answer's probability in the intact forward, and in every `step`-th of the changed ones."""
        answer = self.answering.argmax()
        logits = [self.intact, *(run() for run in self.runs[::step])]
        return torch.stack(logits).softmax(-1)[:, answer]


@dataclass(frozen=True)
class Replayed:
    """The same by replay: recordings in place of logits, and interventions in place of changed forwards."""

    vlm: VisionLanguageModel
    answering: Recording
    intact: Recording
    interventions: list[Intervention]

    def numbers(self) -> Tensor:
        """The answer's probability in the intact forward, and in all changed ones."""
        answer = self.vlm.logits(self.answering.output[0, -1]).argmax()
        states = self.vlm.replay(self.intact, self.interventions)[:, 0]
        return self.vlm.logits(torch.cat([self.intact.output[:, -1], states])).softmax(-1)[:, answer]


@dataclass(frozen=True)
class Summands:
    """The parts of a logit, which come from one forward in either way."""

    parts: Tensor

    def numbers(self, step: int = 1) -> Tensor:  # noqa: ARG002 (a part alone costs as much as all)
        """0, and all parts."""
        return torch.cat([self.parts.new_zeros(1), self.parts])


class Method(Protocol):
    """One of the methods that are compared."""

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Hooked | Summands:
        """The method by one full forward per change."""

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Replayed | Summands:
        """The method by replay."""


@dataclass(frozen=True)
class Knockout:
    """Edges knocked out in a window around each layer, in all heads or in each head alone."""

    edges: Sequence[str]
    window: int
    each_head: bool = False

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Hooked:
        inputs, intact = question.prompt.inputs, hooked.logits(question.prompt.inputs)
        ends = [tuple(map(question.prompt.positions, edge.split(" -> "))) for edge in self.edges]
        heads = range(hooked.heads) if self.each_head else (None,)
        return Hooked(intact, intact, edge_runs(hooked, inputs, ends, self.window, heads))

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Replayed:
        recording, layers = vlm.record(question.prompt), len(vlm.layers)
        knockouts = [
            knockout
            for group in map(EdgeGroup.parse, self.edges)
            for heads in (heads_of(vlm) if self.each_head else (None,))
            for _, knockout in edge_knockouts(group, question.prompt, self.window, layers, heads=heads)
        ]
        return Replayed(vlm, recording, recording, knockouts)


class ZeroedHeads:
    """The output of each head of each layer set to zero at the last position."""

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Hooked:
        inputs, intact = question.prompt.inputs, hooked.logits(question.prompt.inputs)
        return Hooked(intact, intact, head_runs(hooked, inputs, len(question.prompt) - 1))

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Replayed:
        recording, last = vlm.record(question.prompt), question.prompt.positions("last")
        ablations: list[Intervention] = [
            HeadAblation(head, last, layer, layer + 1) for layer in range(len(vlm.layers)) for head in heads_of(vlm)
        ]
        return Replayed(vlm, recording, recording, ablations)


class Patching:
    """States of the forward on the question's own image, the donor, put into the forward on the other image."""

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Hooked:
        answering, donor = hooked.residual_stream(question.prompt.inputs)
        inputs, segments = question.other.inputs, map(question.prompt.positions, PATCHED)
        return Hooked(answering, hooked.logits(inputs), patch_runs(hooked, inputs, segments, donor))

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Replayed:
        donor, recording = vlm.record(question.prompt), vlm.record(question.other)
        patches: list[Intervention] = [
            StatePatch(positions, call.hidden[0, positions], layer)
            for positions in map(question.prompt.positions, PATCHED)
            for layer, call in enumerate(donor.calls)
        ]
        return Replayed(vlm, donor, recording, patches)


class OnlyEdges:
    """All edges blocked but some in some blocks of layers: none, then one more in each set, until all are kept."""

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Hooked:
        prompt, intact = question.prompt, hooked.logits(question.prompt.inputs)
        first, asked = (int(prompt.positions(name)[0]) for name in ("image", "question"))
        after, last = int(prompt.positions("question")[-1]) + 1, len(prompt) - 1
        shown, words = torch.arange(first, asked), torch.arange(asked, after)
        regions = [shown, words, torch.arange(after, last), torch.tensor([last])]
        position = {"image": shown, "question": words, "last": regions[-1]}
        pairs = {edge: tuple(position[end] for end in edge.split(" -> ")) for edge in KEPT_EDGES}
        layers = range(len(hooked.layers))
        sets = [
            [[pairs[edge] for edge, start, stop in cells if start <= layer < stop] for layer in layers]
            for cells in kept_cells(len(layers))
        ]
        return Hooked(intact, intact, only_runs(hooked, prompt.inputs, regions, sets))

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Replayed:
        recording, layers = vlm.record(question.prompt), len(vlm.layers)
        regions = Regions(question.prompt, recording.may_attend.in_any_layer)
        sets = ([Cell(*cell) for cell in cells] for cells in kept_cells(layers))
        return Replayed(vlm, recording, recording, [regions.intervention(cells, layers) for cells in sets])


class Attribution:
    """The logit of the answer, taken apart into what heads, attention and MLPs of all layers add directly."""

    def by_hooks(self, hooked: HookedLlava, question: Question) -> Summands:
        return Summands(hooked.contributions(question.prompt.inputs, question.token))

    def by_replay(self, vlm: VisionLanguageModel, question: Question) -> Summands:
        rows = logit_attribution(vlm, question.prompt, question.token)
        logits = rows["logit"].to_torch()
        by_layer = logits[1:].view(len(vlm.layers), -1)  # attention, MLP, heads
        return Summands(torch.cat([logits[:1], by_layer.roll(-2, dims=1).flatten()]))


def kept_cells(layers: int) -> list[list[tuple[str, int, int]]]:
    """Sets of (edge, first layer, the one after the last): each has one more than the set before it, the first none."""
    cells = [(edge, block.start, block.stop) for edge in KEPT_EDGES for block in layer_blocks(layers, BLOCKS)]
    return [cells[:number] for number in range(len(cells) + 1)]


def methods(window: int) -> dict[str, Method]:
    """The methods by name; `window` is that of edges that are knocked out in all heads."""
    return {
        "six edges": Knockout(FLOW_EDGES, window),
        "two edges in each head": Knockout(HEAD_EDGES, 1, each_head=True),
        "each head, at the last position": ZeroedHeads(),
        "patching of three segments": Patching(),
        "only some edges, 13 sets": OnlyEdges(),
        "logit attribution": Attribution(),
    }


def heads_of(vlm: VisionLanguageModel) -> Sequence[Tensor]:
    """The number of each head, for interventions on one head alone."""
    return torch.arange(vlm.model.config.text_config.num_attention_heads).split(1)
