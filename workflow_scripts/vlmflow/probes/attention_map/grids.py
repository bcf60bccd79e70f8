"""Maps of several sizes on one grid."""

import numpy as np
import polars as pl


def unpivot_maps(rows: pl.DataFrame) -> pl.DataFrame:
    """A row per map of the table `attention map`, one for weights and one for norms, all of the same size.

    If images have grids of several sizes, all maps get the smallest number of rows and of columns; a new cell gets from
    each old cell that it overlaps the share of it that lies in the new one.

    Returns:
        columns question_id, image_id, target, layer, quantity (weight, share), columns, value (list, row by row).
    """
    smallest = (int(rows["rows"].min()), int(rows["columns"].min()))  # type: ignore[arg-type]
    parts = []
    for (height, width), group in rows.group_by("rows", "columns", maintain_order=True):
        for name in ("weight", "share"):
            kept = group.select("question_id", "image_id", "target", "layer", quantity=pl.lit(name))
            maps = regridded(np.array(group[name].to_list(), dtype=float), (int(height), int(width)), smallest)
            values = pl.Series(maps.tolist(), dtype=pl.List(pl.Float64))
            parts.append(kept.with_columns(columns=pl.lit(smallest[1], dtype=pl.Int32), value=values))
    return pl.concat(parts)


def regridded(maps: np.ndarray, size: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """The same maps on another grid over the same image; the sum of each map stays the same.

    Args:
        maps: (maps, cells), row by row.
        size: (rows, columns) of the maps.
        wanted: (rows, columns) of the result.
    """
    if size == wanted:
        return maps
    down, across = (_overlaps(there, here) for there, here in zip(wanted, size, strict=True))
    return np.einsum("rh,mhw,cw->mrc", down, maps.reshape(-1, *size), across).reshape(len(maps), -1)


def _overlaps(wanted: int, given: int) -> np.ndarray:
    """(wanted, given) the share of each of `given` equal parts of a line that lies in each of `wanted` equal parts."""
    ends, others = np.arange(given + 1) / given, np.arange(wanted + 1) / wanted
    shared = np.minimum(ends[None, 1:], others[1:, None]) - np.maximum(ends[None, :-1], others[:-1, None])
    return np.maximum(shared, 0) * given
