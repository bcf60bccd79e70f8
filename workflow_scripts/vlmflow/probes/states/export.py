"""States as safetensors: a tensor per segment and layer, and the question of each of its rows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from vlmflow.probes.states import POSITION, TOKEN, StatesProbe
from vlmflow.tables import Column, Table, atomic_write, read_shards
from vlmflow.tables.columns import ABOUT

# The question and the position of each row of the tensors.
INDEX = Table(
    "index of states",
    {
        "segment": Column(pl.String, "name of the segment"),
        "row": Column(pl.Int64, "number of the row, from 0, in the tensors of the segment, which are one per layer"),
        **ABOUT,
        "position": POSITION,
        "token": TOKEN,
    },
)
# One entry alone: safetensors writes several in an order that differs from run to run.
METADATA = {
    "content": "States of a decoder, float32 (rows, width), a tensor per segment and layer. last.layer_12 has those at "
    "the last position after layer 12, from 0, before the final norm; layer_-1 is the embedding. The rows of a segment "
    "are those of the index, in its order."
}


def tensor_name(segment: str, layer: int) -> str:
    """The name of a tensor, such as `last.layer_12`."""
    return f"{segment}.layer_{layer}"


def export_states(tables: Iterable[str | Path], path: str | Path, index: str | Path) -> None:
    """Write the states of one model as safetensors, and the index of their rows as Parquet.

    Rows are sorted by task, question and position.  The same tables give the same bytes, in any number of shards.

    Args:
        tables: all shards of the table `states` of one model.
        path: of the safetensors file: for each segment and layer a tensor (rows, width), float32, named by
            `tensor_name`.
        index: of the table `INDEX`: a row for each row of a segment's tensors, which is the same in all layers.

    Raises:
        TableError: a file is not a table `states`.
        WriteError: a file cannot be written.
    """
    rows = read_shards(StatesProbe.table, tables)
    tensors, indexed = {}, {}
    for segment, layer in rows.select("segment", "layer").unique(maintain_order=True).iter_rows():
        part = rows.filter(segment=segment, layer=layer)
        tensors[tensor_name(segment, layer)] = _matrix(part["states"])
        if segment not in indexed:
            indexed[segment] = INDEX.frame(part.with_columns(row=pl.int_range(pl.len())))
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, METADATA)
    INDEX.write(pl.concat([INDEX.frame([]), *indexed.values()]), index)


def _matrix(states: pl.Series) -> np.ndarray:
    """(rows, width) float32."""
    return np.ascontiguousarray(states.list.to_array(len(states[0])).to_numpy())
