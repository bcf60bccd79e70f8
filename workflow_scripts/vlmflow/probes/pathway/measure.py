"""What suffices: the effect on the answer if all edges are blocked but some."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from vlmflow.errors import LASTING, InterventionError, NotApplicableError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext, left_out
from vlmflow.probes.effects import FollowedAnswer, effects, first_sub_word, options_measured, own_first_sub_word
from vlmflow.probes.pathway import PATH, WITHOUT, KeptLayers, PathwayProbe, layer_blocks
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

from .kept import Cell, Regions
from .search import CellSet, Kept, SmallestSet, smallest_set

COLUMNS = {"keep": pl.String, "edge": pl.String, "layer": pl.Int32, "until": pl.Int32, "cells": pl.Int32}
SCHEMA = COLUMNS | {"smallest": pl.Boolean}


def measure(probe: PathwayProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `pathway` for one question; see `Probe.measure`."""
    prompt = context.prompt(question)
    applicable = set(context.applicable_edges(question, prompt, probe.edge_groups, required=False))
    sets = _named_sets(probe, context, question, applicable)
    found = None
    if probe.search is not None:
        with left_out(context, question, "search"):
            found = _found(probe, context, applicable)
    if not sets and found is None:
        raise NotApplicableError("no set of edges of the probe applies to this question")
    followed = first_sub_word(prompt, question.token_ids, options_measured(context, question))
    rows = pathway(context.vlm, prompt, sets, followed, found)
    searched = {other.image_id for other in probe.searched(context.questions)}
    half = "search" if question.image_id in searched else "confirm"
    return rows.with_columns(half=pl.when(pl.col("cells") < 0).then(pl.lit("all")).otherwise(pl.lit(half)))


def _named_sets(
    probe: PathwayProbe, context: ProbeContext, question: Question, applicable: Collection[str]
) -> dict[str, list[Cell]]:
    """The study's sets whose edges all apply to the prompt; the others are recorded as skipped."""
    layers, sets = len(context.vlm.layers), {}
    for name, edges in probe.keep.items():
        if absent := [edge for edge in edges if edge not in applicable]:
            context.leave_out(question, name, f"its edge {absent[0]} does not apply to this question")
        else:
            sets[name] = [_cell(edge, kept, layers) for edge, kept in edges.items()]
    return sets


def pathway(
    vlm: LanguageModel,
    prompt: Prompt,
    sets: Mapping[str, CellSet],
    followed: FollowedAnswer | None = None,
    found: SmallestSet | None = None,
) -> pl.DataFrame:
    """The effect on the answer of blocking all attention between image, question, template and last position, except
    that of some cells.

    Args:
        vlm: the model.
        prompt: of this model.
        sets: name → the cells that are kept.
        followed: the answer that is measured; by default the first token that the model generates.
        found: the result of a search, whose sets are measured too: those on its way, and the smallest one without each
            of its cells.

    Raises:
        PromptError: the prompt does not have a segment of an edge.
        NotApplicableError: the question comes before the image.
    """
    named = [((name, "", -1, -1, -1, False), list(cells)) for name, cells in sets.items()]
    named += [] if found is None else _of_search(found)
    recording = vlm.record(prompt)
    if followed is None:
        followed = own_first_sub_word(vlm, prompt, recording)
    regions = Regions(prompt, recording.may_attend.in_any_layer)
    made = [regions.intervention(cells, len(vlm.layers), recording.recurrent) for _, cells in named]
    rows = pl.DataFrame([row for row, _ in named], schema=SCHEMA, orient="row")
    return pl.concat([rows, effects(vlm, recording, made, followed, after="p_kept")], how="horizontal")


def _of_search(found: SmallestSet) -> list[tuple[tuple, list[Cell]]]:
    """The columns of each set of a search, and its cells."""
    sets: list[tuple[tuple, list[Cell]]] = [((PATH, "", -1, -1, 0, False), [])]
    for number, cell in enumerate(found.order, 1):
        row = (PATH, cell.edge, cell.start, cell.stop - 1, number, number <= found.size)
        sets.append((row, list(found.order[:number])))
    for cell in found.cells:
        row = (WITHOUT, cell.edge, cell.start, cell.stop - 1, found.size - 1, True)
        sets.append((row, [other for other in found.cells if other != cell]))
    return sets


def _cell(edge: str, kept: KeptLayers, layers: int) -> Cell:
    span = range(layers) if isinstance(kept, str) else kept.of(layers)
    return Cell(edge, span.start, span.stop)


def _found(probe: PathwayProbe, context: ProbeContext, applicable: Collection[str]) -> SmallestSet:
    """The smallest set of the task, which is searched once.

    Raises:
        NotApplicableError: nothing can be searched, or an edge of the search does not apply to the question.
    """
    if absent := [edge for edge in (probe.search.edges if probe.search else ()) if edge not in applicable]:
        raise NotApplicableError(f"the edge {absent[0]}, which is searched, does not apply to this question")
    if PATH not in context.cache:
        context.keep(PATH, _search(probe, context))
    found: SmallestSet = context.cache[PATH]
    return found


def _search(probe: PathwayProbe, context: ProbeContext) -> SmallestSet:
    """Search the smallest set.

    Raises:
        NotApplicableError: no question of the task can be used.
    """
    if probe.search is None:
        raise AssertionError("the probe has no search")
    layers = len(context.vlm.layers)
    blocks = layer_blocks(layers, probe.search.blocks)
    cells = [Cell(edge, block.start, block.stop) for edge in probe.search.edges for block in blocks]
    questions = probe.searched(context.questions)
    return smallest_set(cells, partial(_measured, context, questions), probe.search.keep)


def _measured(context: ProbeContext, questions: Sequence[Question], sets: Sequence[CellSet]) -> Kept:
    """What the sets leave of the questions' answers."""
    answers, log_prob = [], []
    for question in questions:
        try:
            rows = _left_by(context, question, sets)
        except (*LASTING, InterventionError):  # it is a row of `skipped` when it is measured itself
            continue
        answers.append((rows["flips"] == 0).to_numpy())
        log_prob.append(rows["log_prob"].to_numpy())
    if not answers:
        raise NotApplicableError(
            "no question of the task's first half of images can be measured, so nothing is searched"
        )
    print(f"search: {len(sets)} sets on {len(answers)} questions", flush=True)
    return Kept(np.stack(answers), np.stack(log_prob))


def _left_by(context: ProbeContext, question: Question, sets: Sequence[CellSet]) -> pl.DataFrame:
    """The effects on one question of keeping only each of the sets.

    Raises:
        QuestionError: the question cannot be measured.
    """
    prompt = context.prompt(question)
    followed = first_sub_word(prompt, question.token_ids)
    recording = context.vlm.record(prompt)
    regions = Regions(prompt, recording.may_attend.in_any_layer)
    made = [regions.intervention(cells, len(context.vlm.layers), recording.recurrent) for cells in sets]
    return effects(context.vlm, recording, made, followed)
