"""States at the positions of segments, as the model computes them."""

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor

from vlmflow.engine.recording import Recording
from vlmflow.errors import InterventionError, NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.probes.states import StatesProbe
from vlmflow.prompts.build import Prompt
from vlmflow.tables import PART_OF

COLUMNS = ("segment", "layer", "position", "token", "states")


def measure(probe: StatesProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `states` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    segments = _present(context, question, prompt, probe.segments)
    return states(context.vlm, prompt, segments, probe.layers, mean=probe.tokens == "mean")


def _present(context: ProbeContext, question: Question, prompt: Prompt, segments: Sequence[str]) -> list[str]:
    """The segments that the prompt has; the others, and missing parts of segments, are recorded as skipped.

    Raises:
        NotApplicableError: it has none of them.
    """
    present = []
    for segment in segments:
        if segment in prompt.incomplete:
            context.leave_out(question, PART_OF + segment, prompt.incomplete[segment])
        try:
            prompt.positions(segment)
            present.append(segment)
        except PromptError as error:
            context.leave_out(question, segment, str(error))
    if not present:
        raise NotApplicableError("no segment of the probe is in the prompt of this question")
    return present


def states(
    vlm: LanguageModel,
    prompt: Prompt,
    segments: Sequence[str],
    layers: Sequence[int] | None = None,
    *,
    mean: bool = True,
) -> pl.DataFrame:
    """A row per segment, layer and state, with the columns segment, layer, position, token and states of `StatesProbe`.

    Args:
        vlm: the model.
        prompt: of this model.
        segments: names.
        layers: numbers, from 0; −1 is the embedding; by default all.
        mean: whether a segment has one state, the mean over its positions; else it has one per position.

    Raises:
        PromptError: the prompt does not have a segment.
        InterventionError: a state is not finite in float32.
    """
    positions = [prompt.positions(segment) for segment in segments]
    numbers = range(-1, len(vlm.layers)) if layers is None else layers
    read = states_at(vlm.record(prompt), positions, numbers, mean=mean)
    parts = []
    for segment, where, values in zip(segments, positions, read, strict=True):
        rows = pl.DataFrame({"position": where, "token": _texts(vlm, prompt, where)}) if not mean else ONE_STATE
        of_layers = pl.DataFrame({"layer": numbers}, {"layer": pl.Int32}).join(rows, how="cross", maintain_order="left")
        parts.append(of_layers.with_columns(segment=pl.lit(segment), states=_lists(segment, values)))
    return pl.concat(parts).select(COLUMNS)


def states_at(
    recording: Recording, positions: Sequence[Tensor], layers: Sequence[int], *, mean: bool = False
) -> list[Tensor]:
    """The states of each segment after some layers, before the final norm, in float32 or wider, on the CPU.

    Args:
        recording: of N positions.
        positions: for each segment, its P positions.
        layers: L numbers, from 0; −1 is the embedding.
        mean: whether the mean over its positions takes the place of a segment's states.

    Returns:
        for each segment (L, P, width), or (L, 1, width) for the mean.
    """
    every = list(recording.states())
    chosen = [every[layer + 1] for layer in layers]
    wide = torch.promote_types(recording.output.dtype, torch.float32)

    def read(where: Tensor) -> Tensor:
        # The layers of a large model may lie on several devices.
        states = torch.stack([each[0, where.to(each.device)].cpu() for each in chosen]).to(wide)
        return states.mean(dim=1, keepdim=True) if mean else states

    return [read(where) for where in positions]


# The columns of a mean, which has no position.
ONE_STATE = pl.DataFrame({"position": [None], "token": [None]}, {"position": pl.Int64, "token": pl.String})


def _texts(vlm: LanguageModel, prompt: Prompt, positions: Tensor) -> list[str]:
    """The text of the token at each position."""
    return [vlm.processor.tokenizer.decode([token]) for token in prompt.inputs["input_ids"][0, positions].tolist()]


def _lists(segment: str, values: Tensor) -> pl.Series:
    """A list of float32 for each state of a segment, layer by layer; `values` are (layers, states, width)."""
    single = values.to(torch.float32).flatten(0, 1)
    if not single.isfinite().all():
        raise InterventionError(f"a state of {segment!r} is not a finite number in float32; another dtype may help")
    return pl.Series(single.numpy()).arr.to_list()
