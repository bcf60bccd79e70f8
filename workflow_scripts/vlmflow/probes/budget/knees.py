"""The knee of the loss over the number of image tokens that are kept; [thesis]."""

import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import ENDS, Resampled
from vlmflow.analysis.knees import LEAST_FOUND, RESAMPLES, enough, knee
from vlmflow.probes.budget import ALL_TOKENS


def find_knees(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `budget` of one model and task to the table `knees`, without model and task.

    Images are resampled for the intervals; `found` is the percentage of the resamples that have a knee.  If less than
    half of them have one, the data do not support a knee, and the table has none.
    """
    parts = [_of_curve(group, seed) for group in rows.partition_by("prompt", "keep", maintain_order=True)]
    return pl.DataFrame(parts, infer_schema_length=None) if parts else pl.DataFrame()


def _of_curve(rows: pl.DataFrame, seed: int) -> dict:
    # A curve must be over the same images everywhere, so a number of tokens that only some images have is left out.
    questions = rows["question_id"].n_unique()
    rows = rows.filter(pl.len().over("tokens_requested") == questions)
    cells = rows.pivot(on="tokens_requested", index="image_id", values=["loss"], aggregate_function="sum").sort(
        "image_id"
    )
    with_all_tokens = rows.filter(pl.col("tokens_requested") == ALL_TOKENS)
    counts = with_all_tokens.group_by("image_id").agg(pl.len()).sort("image_id")["len"].to_numpy()
    kept = rows.group_by("tokens_requested").agg(pl.col("tokens_kept").mean()).sort("tokens_kept")
    totals = cells.select([str(number) for number in kept["tokens_requested"]]).to_numpy()
    tokens = kept["tokens_kept"].to_numpy()
    mean = totals.sum(axis=0) / counts.sum()
    again = Resampled.of(totals, counts, cells["image_id"].to_list(), seed).whole[1 : RESAMPLES + 1]
    point, knees = knee(tokens, mean), [each for curve in again if (each := knee(tokens, curve)) is not None]
    found = 100 * len(knees) / len(again)
    point = point if found >= LEAST_FOUND else None
    low, high = np.quantile(knees, ENDS) if point is not None and len(counts) > 1 else (None, None)
    several = len(counts) > 1
    enough_low, enough_high = np.quantile([enough(tokens, curve) for curve in again], ENDS) if several else (None, None)
    return {
        "prompt": rows["prompt"][0],
        "keep": rows["keep"][0],
        "knee": point,
        "low": low,
        "high": high,
        "knee_found_percent": found,
        "tokens_for_95_percent": enough(tokens, mean),
        "tokens_for_95_percent_low": enough_low,
        "tokens_for_95_percent_high": enough_high,
        "loss_without_image": float(mean[0]),
        "loss_at_knee": None if point is None else float(np.interp(point, tokens, mean)),
        "loss_all_tokens": float(mean[-1]),
        "questions": int(counts.sum()),
        "images": len(counts),
    }
