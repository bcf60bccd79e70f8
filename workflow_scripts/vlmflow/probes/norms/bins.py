"""The distribution of the norms of patches."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from .sinks import sinks, threshold_of

# Eight bins per doubling, wide enough for any encoder.
BINS = 2.0 ** (np.arange(-6 * 8, 12 * 8 + 1) / 8)


def shares_of_norms(rows: pl.DataFrame) -> pl.DataFrame:
    """A row per question, kind of patches and bin, with the percentage of these patches whose norm is in the bin.

    Args:
        rows: of the table `norms`.

    Returns:
        columns question_id, image_id, patches (all, related, other), norm (lower edge of the bin), share.
    """
    parts = []
    for question_id, image_id, norms, related in rows.select("question_id", "image_id", "norms", "related").iter_rows():
        values = {"all": [norm for norm in norms if norm is not None]}
        if related is not None:
            inside = set(related)
            values["related"] = [n for i, n in enumerate(norms) if n is not None and i in inside]
            values["other"] = [n for i, n in enumerate(norms) if n is not None and i not in inside]
        for patches, kept in values.items():
            if kept:
                counts, _ = np.histogram(np.clip(kept, BINS[0], BINS[-1]), BINS)
                shares = pl.DataFrame({"norm": BINS[:-1], "share": counts / len(kept) * 100})
                names = {"question_id": question_id, "image_id": image_id, "patches": patches}
                parts.append(shares.with_columns(pl.lit(value).alias(name) for name, value in names.items()))
    return pl.concat(parts)


def numbers_of_sinks(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A row per question with the number of its sinks in `share`; nothing if the study gives no threshold.

    Args:
        rows: of the table `norms`, of one model and task.
    """
    above, quantile = rows["above"][0], rows["quantile"][0]
    threshold = above if quantile is None else threshold_of(rows["norms"], quantile)
    if threshold is not None:
        numbers = [float(len(sinks(norms, threshold))) for norms in rows["norms"]]
        yield (
            rows.select("question_id", "image_id")
            .with_columns(patches=pl.lit("sinks"), norm=pl.lit(threshold), share=pl.Series(numbers))
            .select("norm", "share", "question_id", "image_id", "patches")
        )
