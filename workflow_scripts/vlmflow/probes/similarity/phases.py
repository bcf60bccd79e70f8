"""Phases of inference on the three curves of contextualisation; [phase]."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import Resampled, quantile_ends
from vlmflow.analysis.phases import RESAMPLES, StraightLines, numbers_supported, pairs_of
from vlmflow.probes.similarity import PAIRS, PHASE_NAMES, SLOPES


def names_of(ends: np.ndarray) -> tuple[str, ...]:
    """The names of phases: those of [phase] if there are four phases as its abstract describes them, else empty names.

    In the first phase, image and text become more similar.  In the second, they become less similar, while the tokens
    within the image and within the text become more similar.  In the third, image and text become more similar again.
    In the fourth, all three similarities fall.  Each of these slopes must have its whole interval on this side.

    Args:
        ends: (2, phases, curves) ends of the intervals of the change per layer of the curves between image and text,
            within image, and within text.
    """
    if ends.shape[1] == len(PHASE_NAMES):
        low, high = ends
        grows = low[0, 0] > 0 and min(low[1, 1:]) > 0 and low[2, 0] > 0
        if grows and high[1, 0] < 0 and max(high[3]) < 0:
            return PHASE_NAMES
    return ("",) * ends.shape[1]


def find_phases(rows: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """From the table `similarity` of one model and task to the table `phases`, without model and task.

    The three corrected curves are scaled to the same variance; a curve with more sampling error has less weight.
    Images are resampled, and phases are found again in each resample.  This gives the interval of each cut and slope,
    and the number of phases, which is the number that most resamples support.
    """
    parts = [pl.DataFrame(_of_prompt(group, seed)) for group in rows.partition_by("prompt", maintain_order=True)]
    return pl.concat(parts) if parts else pl.DataFrame()


def _of_prompt(rows: pl.DataFrame, seed: int) -> list[dict]:
    layers = rows["layer"].unique().sort().to_list()
    images, totals, counts = _by_image(rows, layers)
    again = Resampled.of(totals, counts, images, seed).whole[: RESAMPLES + 1]
    curves = again.reshape(len(again), len(layers), len(PAIRS))
    found, numbers = numbers_supported(curves)
    votes = Counter(numbers[1:].tolist())
    number = min(votes, key=lambda each: (-votes[each], each))
    several = len(counts) > 1
    about = {
        "prompt": rows["prompt"][0],
        "phase_count": number,
        "agreement": 100 * votes[number] / (len(again) - 1) if several else None,
        "questions": int(counts.sum()),
        "images": len(counts),
    }
    lines = StraightLines(curves)
    return [
        about | row
        for of in sorted({number, len(PHASE_NAMES)} & set(found))
        for row in _rows(layers, found[of], lines.slopes_of(found[of]), several)
    ]


def _by_image(rows: pl.DataFrame, layers: list[int]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(ids of the images, (images, layers × pairs) sums over their questions, (images) number of their questions)."""
    order = pl.DataFrame({"layer": layers}, schema={"layer": pl.Int32}).join(pl.DataFrame({"pair": PAIRS}), how="cross")
    cells = rows.group_by("image_id", "layer", "pair").agg(pl.col("corrected").sum(), count=pl.len())
    images = rows["image_id"].unique().sort()
    grid = pl.DataFrame({"image_id": images}).join(order, how="cross", maintain_order="left_right")
    full = grid.join(cells, on=["image_id", "layer", "pair"], how="left", maintain_order="left")
    totals = full["corrected"].to_numpy().reshape(len(images), -1)
    return images.to_list(), totals, full["count"].to_numpy().reshape(len(images), -1)[:, 0].astype(float)


def _rows(layers: list[int], ends: np.ndarray, slopes: np.ndarray, several: bool) -> Iterator[dict]:
    """A row per phase; without intervals if there is only one image.

    Args:
        layers: of the states.
        ends: (1 + resamples, phases), the sample first.
        slopes: (1 + resamples, phases, curves).
        several: whether there are several images.
    """
    intervals = quantile_ends(slopes)
    names = names_of(intervals)
    for index, (start, end) in enumerate(pairs_of(ends[0].tolist())):
        begins = np.array(layers)[ends[:, index - 1]] if index else np.full(len(ends), layers[0])
        low, high = quantile_ends(begins).tolist() if several else (None, None)
        row = {
            "phases": ends.shape[1],
            "phase": index + 1,
            "name": names[index],
            "first_layer": layers[start],
            "last_layer": layers[end - 1],
            "low": low,
            "high": high,
        }
        for curve, name in enumerate(SLOPES):
            row |= {name: float(slopes[0, index, curve])}
            for place, bound in enumerate(("low", "high")):
                row[f"{name}_{bound}"] = float(intervals[place, index, curve]) if several else None
        yield row
