"""The rows of the questions that a probe measures, with everything that the probe needs to know about them."""

import polars as pl

from vlmflow.data.sampling import sample
from vlmflow.tables import ANSWERS, PATCHES, SELECTED, TASK

from .base import Probe, ProbeFiles


def rows_to_probe(probe: Probe, files: ProbeFiles, seed: int | None) -> pl.DataFrame:
    """Rows of the table `task` with the model's patches, its answer's `token_ids` and the columns that the probe adds.

    Args:
        probe: as the study file has it.
        files: paths of the tables.
        seed: of the sample, if the probe measures only some of the questions.
    """
    answers = ANSWERS.read(files.answers)
    analysed = answers if probe.answers_analysed == "any" else SELECTED.read(files.selected)
    sampled = sample(analysed["question_id"], probe.questions, seed or 0)
    rows = TASK.read(files.questions).filter(pl.col("question_id").is_in(sampled.implode()))
    for path in files.patches:
        rows = rows.join(PATCHES.read(path), on="question_id", how="left", maintain_order="left")
    rows = rows.join(answers.select("question_id", "token_ids"), on="question_id", how="left", maintain_order="left")
    return probe.columns(rows, files, seed)
