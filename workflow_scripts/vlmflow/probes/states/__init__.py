"""States at the positions of segments, exported for linear probes and sparse autoencoders."""

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, field_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.models.size import Size
from vlmflow.own_segments import NoSinks
from vlmflow.probes.base import AnyAnswerProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward, segment_tokens
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, STATE

POSITION = Column(pl.Int32, "in the decoder's sequence, from 0; null: mean over the segment's positions", nullable=True)
TOKEN = Column(pl.String, "text of the token at this position; null for the mean", nullable=True)


# In increasing order, so that one set of layers has one place in the store.
LayerNumbers = Annotated[
    list[Annotated[int, Field(ge=-1)]],
    Field(min_length=1),
    AfterValidator(each_once("layer")),
    AfterValidator(sorted),
]


def _norms(rows: pl.DataFrame) -> pl.DataFrame:
    """A row per question, segment and layer; `norm` is the mean of the Euclidean norms of its states."""
    squares = pl.col("states").cast(pl.List(pl.Float64)).list.eval(pl.element() ** 2)
    by = ["task", "question_id", "image_id", "segment", "layer"]
    norms = rows.select(*by, norm=squares.list.sum().sqrt())
    return norms.group_by(by, maintain_order=True).agg(pl.col("norm").mean())


class StatesProbe(AnyAnswerProbe):
    """States at the positions of segments after each layer, as they are: not normed, and read by no unembedding."""

    chapter: ClassVar = Chapter.STATES
    table: ClassVar = Table(
        "states",
        ABOUT
        | {"segment": Column(pl.String, "name of the segment")}
        | STATE
        | {
            "position": POSITION,
            "token": TOKEN,
            "states": Column(
                pl.List(pl.Float32),
                "the state after the layer, as many numbers as the model is wide; no norm is applied",
            ),
        },
    )
    averaging: ClassVar = Averaging(
        by=("segment", "layer"),
        quantities=("norm",),
        prepare=_norms,
        line="segment",
    )
    choosing_keys: ClassVar = AnyAnswerProbe.choosing_keys | {"form"}  # the rows are the same in each form

    kind: Literal["states"]
    segments: Annotated[list[NoSinks], AfterValidator(each_once("segment"))] = Field(
        ["last"], min_length=1, description="The segments at whose positions states are read."
    )
    layers: LayerNumbers | None = Field(
        None, description="Numbers of the layers after which states are read, from 0; −1 is the embedding; or all."
    )
    tokens: Literal["mean", "all"] = Field(
        "mean",
        description="mean: one state per segment, the mean over its positions; all: the state at each of them.",
    )
    form: Literal["parquet", "safetensors"] = Field(
        "parquet",
        description="parquet: the probe's table is the export; safetensors: a file of tensors is written from it too.",
    )

    @field_validator("layers", mode="before", json_schema_input_type=list[int] | Literal["all"] | None)
    @classmethod
    def _none_for_all(cls, given: Any) -> Any:
        if isinstance(given, str) and given != "all":
            raise ValueError(f"{given!r}: give a list of layers, or the word all")
        return None if given == "all" else given

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        return self.segments if column == "segment" else super().values_measured(column)

    @property
    def segments_named(self) -> list[str]:
        """See `Probe.segments_named`."""
        return list(self.segments)

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {} if self.layers is None else {"layers": max(self.layers) + 1}

    def too_deep(self, key: str, layers: int) -> tuple[str, int]:
        """See `Probe.too_deep`; layers are numbered from 0."""
        return f"{self.layers_required[key] - 1} is not one of the layers −1 to {layers - 1}", layers - 1

    @property
    def exports_states(self) -> bool:
        """See `Probe.exports_states`."""
        return self.form == "safetensors"

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`; many states take longer to write than to compute."""
        layers = size.layers + 1 if self.layers is None else len(self.layers)
        states = sum(1 if self.tokens == "mean" else segment_tokens(segment, size) for segment in self.segments)
        return Work(forward(), 1, layers * states * size.width)
