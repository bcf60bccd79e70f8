"""Which questions a probe is run on, with all that it has to know about each of them."""

from typing import Any

import polars as pl

from vlmflow.data.sampling import sample, sampling_order
from vlmflow.probes import KnockoutProbe, Probe, PruningProbe, SimilarityProbe, Sinks, VisualLensProbe
from vlmflow.tables import ANSWERS, NORMS, PATCHES, SELECTED, TASK

from .norms.measure import sinks, threshold_of


def rows_to_probe(probe: Probe, source: Any, seed: int) -> pl.DataFrame:
    """Rows of the table `task` with the model's patches, its answer's `token_ids` and, where the probe asks for them,
    `sinks`, `timed` and `example`.

    Args:
        probe: as the study file has it.
        source: paths of the tables: questions, answers, selected, and lists (empty or of one) patches, norms.
        seed: of the draw, where the probe takes only some of the questions.
    """
    answers = ANSWERS.read(source.answers)
    # Pruning asks how many answers are right, so that it asks wrongly answered questions as well.
    any_answer = isinstance(probe, PruningProbe) or getattr(probe, "answers", "right") == "any"
    chosen = answers["question_id"] if any_answer else SELECTED.read(source.selected)["question_id"]
    drawn = sample(chosen, probe.questions, seed)
    rows = TASK.read(source.questions).filter(pl.col("question_id").is_in(drawn.implode()))
    for path in source.patches:
        rows = rows.join(PATCHES.read(path), on="question_id", how="left", maintain_order="left")
    rows = rows.join(answers.select("question_id", "token_ids"), on="question_id", how="left", maintain_order="left")
    if isinstance(probe, KnockoutProbe) and probe.sinks is not None:
        rows = rows.join(
            _sinks(probe.sinks, NORMS.read(source.norms[0])), on="question_id", how="left", maintain_order="left"
        )
    if isinstance(probe, PruningProbe):
        timed = sample(rows["question_id"], probe.timed, seed)
        rows = rows.with_columns(timed=pl.col("question_id").is_in(timed.implode()))
    if isinstance(probe, SimilarityProbe | VisualLensProbe):
        # A question is compared with those that follow it; in a file, neighbours may have to do with each other.
        rows = rows.sort(pl.col("question_id").map_elements(sampling_order, return_dtype=pl.Binary))
    if isinstance(probe, VisualLensProbe):
        examples = sample(rows["question_id"], probe.examples, seed)
        rows = rows.with_columns(example=pl.col("question_id").is_in(examples.implode()))
    return rows


def _sinks(settings: Sinks, measured: pl.DataFrame) -> pl.DataFrame:
    """columns question_id, sinks: numbers of the tokens among the picture's."""
    threshold = settings.above
    if threshold is None and len(measured):
        threshold = threshold_of(measured["norms"], float(settings.quantile or 0))
    found = [sinks(norms, float(threshold or 0)) for norms in measured["norms"]]
    patches = sum(norms.drop_nulls().len() for norms in measured["norms"])
    print(f"{sum(map(len, found))} of {patches} patches have a norm above {threshold}")
    return measured.select("question_id").with_columns(sinks=pl.Series(found, dtype=pl.List(pl.Int32)))
