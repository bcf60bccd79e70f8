"""Phases of inference on the three curves of contextualisation; [phase]."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import ENDS, draws
from vlmflow.analysis.phases import (
    FLAT,
    LEAST_WEIGHT,
    RESAMPLES,
    cuts,
    most_phases,
    sampling_error,
    supported,
)
from vlmflow.probes.similarity import PAIRS, PHASE_NAMES


def names_of(slopes: np.ndarray) -> tuple[str, ...]:
    """The names of phases: those of [phase] if there are four phases as it describes them, else empty names.

    In the first phase, image and text become more similar.  In the second, they become less similar, while the tokens
    within the image or within the text become more similar.  In the third, image and text become more similar again.
    There is no condition on the fourth.

    Args:
        slopes: (phases, curves) change per layer of the curves between image and text, within image, and within text.
    """
    if len(slopes) == len(PHASE_NAMES):
        between = slopes[:, 0]
        if between[0] > 0 > between[1] and max(slopes[1, 1:]) > 0 and between[2] > 0:
            return PHASE_NAMES
    return ("",) * len(slopes)


def find_phases(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `similarity` of one model and task to the table `phases`, without model and task.

    The three corrected curves are scaled to the same variance; a curve with more sampling error has less weight.
    Images are resampled, and phases are found again in each resample.  This gives the interval of each cut,
    and the number of phases, which is the number that most resamples support.
    """
    parts = [pl.DataFrame(_of_prompt(group, seed)) for group in rows.partition_by("prompt", maintain_order=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def _of_prompt(rows: pl.DataFrame, seed: int) -> list[dict]:
    layers = rows["layer"].unique().sort().to_list()
    totals, counts = _by_image(rows, layers)
    mean = (totals.sum(axis=0) / counts.sum()).reshape(len(layers), len(PAIRS))
    scale = np.where(mean.std(axis=0) > FLAT, mean.std(axis=0), 1.0)
    resampled = [
        (drawn @ totals / (drawn @ counts)).reshape(mean.shape) / scale for drawn in draws(len(counts), seed, RESAMPLES)
    ]
    error = sampling_error(mean / scale, resampled)
    # A curve that is mostly sampling error carries little information about the cuts.
    weight = np.sqrt(np.clip(1 - error, LEAST_WEIGHT, 1))
    found = cuts(mean / scale * weight, most_phases(*mean.shape))
    again = [cuts(curves * weight, max(found)) for curves in resampled]
    # A resample has the error of the sample and, in addition, that of resampling.
    votes = Counter(supported(curves, each, 2 * error) for curves, each in zip(resampled, again, strict=True))
    number = min(votes, key=lambda each: (-votes[each], each))
    several = len(counts) > 1
    about = {
        "prompt": rows["prompt"][0],
        "phase_count": number,
        "agreement": 100 * votes[number] / len(resampled) if several else None,
        "questions": int(counts.sum()),
        "images": len(counts),
    }
    return [
        about | row
        for of in sorted({number, len(PHASE_NAMES)} & set(found))
        for row in _rows(mean, layers, found[of], [each[of] for each in again] if several else [])
    ]


def _by_image(rows: pl.DataFrame, layers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """((images, layers × pairs) sums over an image's questions, (images) number of its questions)."""
    order = pl.DataFrame({"layer": layers}, schema={"layer": pl.Int32}).join(pl.DataFrame({"pair": PAIRS}), how="cross")
    cells = rows.group_by("image_id", "layer", "pair").agg(pl.col("corrected").sum(), count=pl.len())
    images = rows["image_id"].unique().sort()
    grid = pl.DataFrame({"image_id": images}).join(order, how="cross", maintain_order="left_right")
    full = grid.join(cells, on=["image_id", "layer", "pair"], how="left", maintain_order="left")
    totals = full["corrected"].to_numpy().reshape(len(images), -1)
    return totals, full["count"].to_numpy().reshape(len(images), -1)[:, 0].astype(float)


def _rows(mean: np.ndarray, layers: list[int], ends: list[int], again: list[list[int]]) -> Iterator[dict]:
    """A row per phase; without intervals if nothing was resampled."""
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    slopes = np.array([np.polyfit(np.arange(end - start), mean[start:end], 1)[0] for start, end in spans])
    names = names_of(slopes)
    for index, (start, end) in enumerate(spans):
        # The first phase always begins with the first state.
        begins = [layers[each[index - 1]] for each in again] if index else [layers[0]]
        low, high = np.quantile(begins, ENDS).tolist() if begins else (None, None)
        yield {
            "phases": len(ends),
            "phase": index + 1,
            "name": names[index],
            "first_layer": layers[start],
            "last_layer": layers[end - 1],
            "between": float(slopes[index, 0]),
            "within_image": float(slopes[index, 1]),
            "within_text": float(slopes[index, 2]),
            "low": low,
            "high": high,
        }
