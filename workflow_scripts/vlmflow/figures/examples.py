"""Single questions with their images: attention, the loss without a cell, or the words of patches; [thesis]."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import AttentionMapProbe, OcclusionProbe, VisualLensProbe

from .attention_maps import Layers, Quantity, Target, check_attention, refuse_layers, refuse_target, target_shown
from .base import Chart
from .effects import EffectTable
from .panels import FigureData, Layout, evenly_spaced

if TYPE_CHECKING:
    import altair as alt

ExamplesProbe = AttentionMapProbe | VisualLensProbe | OcclusionProbe
LAYERS = 4  # images per question, if the figure names no layers


class ExamplesChart(Chart[ExamplesProbe]):
    """Single questions with their images; for the visual lens, the words that patches decode to."""

    draws: ClassVar = (AttentionMapProbe, VisualLensProbe, OcclusionProbe)

    chart: Literal["examples"]
    questions: int = Field(2, ge=1, le=12, description="Questions per task.")
    quantity: Quantity = "share"
    target: Target = None
    layers: Layers = Field(None, description="The layers that are shown; by default four from the first to the last.")

    def _examples(self, probe: ExamplesProbe) -> "_AttentionExamples | _WordExamples | _OcclusionExamples":
        match probe:
            case AttentionMapProbe():
                return _AttentionExamples(self, probe)
            case VisualLensProbe():
                return _WordExamples(self, probe)
            case OcclusionProbe():
                return _OcclusionExamples(self, probe)

    @property
    def examples_per_task(self) -> int:
        """See `Chart.examples_per_task`."""
        return self.questions

    def check(self, probe: ExamplesProbe, name: str) -> None:
        """See `Chart.check`."""
        self._examples(probe).check(f"figures.{name}")

    def draw(self, probe: ExamplesProbe, data: FigureData, layout: Layout) -> "alt.TopLevelMixin | None":
        """The figure: for each question its text and a row of images; None if there is no question."""
        from .marks.image_panels import row_of_images, stack_rows

        examples = self._examples(probe)
        rows = []
        for task, views in data.views.items():
            for view in views.to_dicts():
                own = data.rows[task].filter(pl.col("question_id") == view["question_id"])
                if panels := list(examples.panels(own, view)):
                    heading = f"{task}: {view['question']} ({view['answer']})"
                    rows.append(row_of_images(panels, heading, layout.columns))
        return stack_rows(rows, self.title, [f"{data.model}; {examples.subtitle}"]) if rows else None

    def data_rows(self, probe: ExamplesProbe, data: FigureData) -> pl.DataFrame:
        """See `Chart.data_rows`: the rows of the questions that are shown; lists are written as JSON."""
        shown = [
            data.rows[task].filter(pl.col("question_id").is_in(views["question_id"].implode()))
            for task, views in data.views.items()
        ]
        rows = pl.concat(shown) if shown else probe.table.frame([])
        lists = [name for name, kind in rows.schema.items() if kind == pl.List]
        return rows.with_columns(
            pl.Series(name, [None if value is None else json.dumps(value.to_list()) for value in rows[name]], pl.String)
            for name in lists
        )

    def layer_rows(self, rows: pl.DataFrame) -> list[dict[str, Any]]:
        """The rows of the layers that are shown, in the order of the layers."""
        layers = self.layers or evenly_spaced(rows["layer"].unique().sort().to_list(), LAYERS)
        return rows.filter(pl.col("layer").is_in(layers)).sort("layer").to_dicts()

    def caption(self, probe: ExamplesProbe) -> str:
        """See `Chart.caption`."""
        return f"Single questions: {self._examples(probe).caption}"

    def sentence(
        self,
        probe: ExamplesProbe,
        summary: pl.DataFrame,
        model: str,
        features: pl.DataFrame | None = None,
    ) -> str:
        """Nothing: single examples show no averages."""
        return ""

    def effects(
        self,
        probe: ExamplesProbe,
        summary: pl.DataFrame,
    ) -> EffectTable:
        """A table without lines."""
        return EffectTable([], [], "")


@dataclass(frozen=True)
class _AttentionExamples:
    """The image shaded by attention, layer by layer."""

    figure: ExamplesChart
    probe: AttentionMapProbe
    caption = (
        "the image as the model receives it, darker where the target attends less. All layers of an image share one "
        "scale."
    )

    @property
    def subtitle(self) -> str:
        return f"attention from {target_shown(self.figure.target, self.probe)}, brightest where it is highest"

    def check(self, key: str) -> None:
        check_attention(self.figure.target, self.figure.layers, self.probe, key, self.figure.probe)

    def panels(self, rows: pl.DataFrame, view: dict[str, Any]) -> Iterator[Any]:
        rows = rows.filter(pl.col("target") == target_shown(self.figure.target, self.probe))
        maps = {f"layer {row['layer']}": row[self.figure.quantity] for row in self.figure.layer_rows(rows)}
        return _shaded_images(view, maps, (view["rows"], view["columns"]))


@dataclass(frozen=True)
class _OcclusionExamples:
    """The image shaded by the loss without each cell."""

    figure: ExamplesChart
    probe: OcclusionProbe
    caption = (
        "the image as the model receives it, darker where the reference answer's loss increases less without the cell."
    )
    subtitle = "brightest where the loss increases most without the cell"

    def check(self, key: str) -> None:
        refuse_target(self.figure.target, key, self.figure.probe)
        refuse_layers(self.figure.layers, key, self.figure.probe)

    def panels(self, rows: pl.DataFrame, view: dict[str, Any]) -> Iterator[Any]:
        if len(rows) == 0:
            return iter(())
        row = rows.row(0, named=True)
        return _shaded_images(view, {"without each cell": row["loss_increase"]}, (row["grid"], row["grid"]))


@dataclass(frozen=True)
class _WordExamples:
    """The image with the most probable word of each patch, layer by layer."""

    figure: ExamplesChart
    probe: VisualLensProbe
    caption = (
        "the most probable word of each patch, after some of the layers: the patch's state is read through the final "
        "norm and the unembedding."
    )
    subtitle = "the most probable word of each patch"

    def check(self, key: str) -> None:
        refuse_target(self.figure.target, key, self.figure.probe)
        if self.probe.examples == 0:
            name = self.figure.probe
            raise ValueError(
                f"{key}.probe: the probe {name!r} keeps no words; set probes.{name}.examples to at least 1"
            )

    def panels(self, rows: pl.DataFrame, view: dict[str, Any]) -> Iterator[Any]:
        from .marks.image_panels import word_grid

        rows = rows.filter(
            pl.col("decoded").is_not_null() & (pl.col("instruction_position") == self.probe.instruction_positions[0])
        )
        for row in self.figure.layer_rows(rows):
            yield word_grid(view, row["decoded"], "embedding" if row["layer"] < 0 else f"layer {row['layer']}")


def _shaded_images(view: dict[str, Any], maps: dict[str, list[float]], size: tuple[int, int]) -> Iterator[Any]:
    """The image without shading, then shaded by each map; all maps share one scale, so that they can be compared.

    Args:
        view: row of the table `views`.
        maps: heading → values of the cells, row by row; empty if nothing was measured.
        size: (rows, columns) of the cells.
    """
    from .marks.image_panels import shaded_image

    if not maps:
        return
    most = max(map(max, maps.values()))
    yield shaded_image(view, [1.0] * (size[0] * size[1]), size[1], 1.0, "input image")
    for heading, values in maps.items():
        yield shaded_image(view, values, size[1], most, heading)
