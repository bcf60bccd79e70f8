"""Activation patching: the effect on the answer of states that come from the run of another image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import torch
from torch import Tensor

from vlmflow.edges import window_layers
from vlmflow.engine.interventions import Intervention, Site, StatePatch, Together
from vlmflow.engine.modules import attention_layer, head_count
from vlmflow.engine.recording import Recording
from vlmflow.engine.site_states import SiteStates
from vlmflow.errors import NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.effects import (
    FollowedAnswer,
    effects_of,
    first_sub_word,
    option_tokens,
    options_measured,
    options_of,
)
from vlmflow.probes.patching import PatchingProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

SCHEMA = {"site": pl.String, "segment": pl.String, "window": pl.Int32, "layer": pl.Int32, "head": pl.Int32}
DONORS = "donors"
# Smallest difference between the two runs, in nats, of which a part has a meaning.
LEAST_WAY = 0.1
# Site, segment, window, layer, head.
Key = tuple[str, str, int, int, int]


def measure(probe: PatchingProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `patching` for one question; see `Probe.measure`."""
    donor = _donor(probe, context, question)
    own, others = context.prompt(question), context.prompt(donor)
    check_same_layout(own, others)
    donor_options = option_tokens(context.vlm, options_of(donor), donor.token_ids)
    runs = {
        question.id: first_sub_word(own, question.token_ids, options_measured(context, question)),
        donor.id: first_sub_word(others, donor.token_ids, donor_options),
    }
    segments = []
    for segment in probe.segments:
        try:
            check_same_positions(own, others, [segment])
            segments.append(segment)
        except (PromptError, NotApplicableError) as error:
            context.leave_out(question, segment, str(error))
    if not segments:
        raise NotApplicableError("no segment of the probe applies to this pair of questions")
    frames = []
    for direction in probe.directions:
        receiver, giver = (question, donor) if direction == "noise" else (donor, question)
        rows = patching(context.vlm, runs[receiver.id], runs[giver.id], segments, probe.sites, probe.window)
        frames.append(rows.with_columns(direction=pl.lit(direction), donor=pl.lit(donor.id)))
    return pl.concat(frames)


def _donor(probe: PatchingProbe, context: ProbeContext, question: Question) -> Question:
    if DONORS not in context.cache:
        context.keep(DONORS, probe.donors(context.questions))
    donors: Mapping[str, Question] = context.cache[DONORS]
    if question.id in donors:
        return donors[question.id]
    if isinstance(probe.pairs, str):
        reason = "no measured question has the same text, another image of the same size and another answer"
    elif question.id in probe.pairs:
        reason = f"its donor {probe.pairs[question.id]!r} is not among the questions that are measured"
    else:
        reason = "pairs names no donor for it"
    raise NotApplicableError(reason)


def check_same_layout(prompt: Prompt, donor: Prompt) -> None:
    """Check that two prompts have as many tokens, and the image at the same ones.

    Raises:
        NotApplicableError: they differ; the message says where.
    """
    if len(prompt) != len(donor):
        raise NotApplicableError(
            f"the donor has another layout of tokens: its prompt has {len(donor)}, this one {len(prompt)}"
        )
    check_same_positions(prompt, donor, [name for name in ("image", "caption", "last") if name in prompt.segments])


def check_same_positions(prompt: Prompt, donor: Prompt, segments: Sequence[str]) -> None:
    """Check that segments have the same positions in two prompts.

    Raises:
        NotApplicableError: one has others; the message names it.
        PromptError: a prompt does not have a segment.
    """
    for segment in segments:
        if not torch.equal(prompt.positions(segment), donor.positions(segment)):
            raise NotApplicableError(
                f"the donor has another layout of tokens: its segment {segment!r} is not at the same positions"
            )


def patching(
    vlm: LanguageModel,
    run: FollowedAnswer,
    donor: FollowedAnswer,
    segments: Sequence[str],
    sites: Sequence[Site] = ("input",),
    window: int = 1,
) -> pl.DataFrame:
    """The effect on the answer of the donor's states at some positions of the run.

    Args:
        vlm: the model.
        run: the prompt whose forward is changed, and its answer.
        donor: the prompt from whose forward the states come, and its answer; it has the same layout of tokens.
        segments: at whose positions states are replaced.
        sites: where in a layer; at the site head, each head by itself.
        window: number of layers around each layer, odd, in which states are replaced.

    Raises:
        NotApplicableError: the layouts differ, or both answers begin with the same sub-word.
        PromptError: a prompt does not have a segment.
        InterventionError: the layers have no such site.
    """
    check_same_layout(run.prompt, donor.prompt)
    check_same_positions(run.prompt, donor.prompt, segments)
    answers = (run.token_ids[0], donor.token_ids[0])
    if answers[0] == answers[1]:
        raise NotApplicableError("the answers to both questions begin with the same sub-word")
    recording = vlm.record(run.prompt)
    made = [each for site in sites for each in _patches(vlm, run.prompt, donor.prompt, segments, site, window)]
    states = vlm.replay(recording, [each for _, each in made], run.positions)
    rows = pl.DataFrame([key for key, _ in made], schema=SCHEMA, orient="row")
    found = effects_of(vlm, recording, states, run, after="p_patched")
    towards = _towards(vlm, recording, vlm.record(donor.prompt), states, answers)
    return pl.concat([rows, found, towards], how="horizontal")


@dataclass(frozen=True)
class _Donated:
    """The donor's states at a site of every layer, at the positions of one segment."""

    site: Site
    positions: Tensor
    states: SiteStates

    def patch(self, layers: Sequence[int], head: int) -> Intervention | None:
        """The patch of some layers; None if none of them has the site."""
        parts: list[Intervention] = []
        for layer in layers:
            states = self.states[layer]
            if states is None:
                continue
            if self.site == "head":
                parts.append(StatePatch(self.positions, states[:, [head]], layer, self.site, torch.tensor([head])))
            else:
                parts.append(StatePatch(self.positions, states, layer, self.site))
        return None if not parts else parts[0] if len(parts) == 1 else Together(parts)


def _patches(
    vlm: LanguageModel, prompt: Prompt, donor: Prompt, segments: Sequence[str], site: Site, window: int
) -> Iterator[tuple[Key, Intervention]]:
    everywhere = torch.arange(len(prompt))
    states = vlm.site_states(donor, site, everywhere)
    heads = range(head_count(attention_layer(vlm.layers))) if site == "head" else [-1]
    for segment in segments:
        positions = prompt.positions(segment)
        donated = _Donated(site, positions, [None if each is None else each[positions] for each in states])
        for layer in range(len(vlm.layers)):
            around = window_layers(layer, window, len(vlm.layers))
            for head in heads:
                if (patch := donated.patch(around, head)) is not None:
                    yield (site, segment, window, layer, head), patch


def _towards(
    vlm: LanguageModel, run: Recording, donor: Recording, states: Tensor, answers: tuple[int, int]
) -> pl.DataFrame:
    """The columns `towards` and `becomes` of patched states (patches, 1, width)."""
    read = torch.cat([run.output[0, -1:], donor.output[0, -1:].to(states.device), states[:, 0]])
    margins, predicted = vlm.read(read, partial(_read_margin, answers)).T
    ours, theirs, patched = margins[0], margins[1], margins[2:]
    way = float(theirs - ours)
    towards = [None] * len(patched) if abs(way) < LEAST_WAY else (100 * (patched - ours) / way).tolist()
    return pl.DataFrame(
        {
            "towards": pl.Series(towards, dtype=pl.Float64),
            "becomes": [100.0 * (token == answers[1]) for token in predicted[2:].tolist()],
        }
    )


def _read_margin(answers: tuple[int, int], logits: Tensor) -> Tensor:
    """(states, 2): by how much the second answer is more probable than the first, nats; and the most probable token."""
    return torch.stack([logits[:, answers[1]] - logits[:, answers[0]], logits.argmax(-1)], dim=1).double()
