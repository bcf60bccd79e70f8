"""The distribution of the norms of patches."""

import numpy as np
import polars as pl

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
