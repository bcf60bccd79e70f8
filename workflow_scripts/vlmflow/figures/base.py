"""The base of every chart: its settings, its drawing, and its caption, sentence and table for a probe's numbers."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

import polars as pl

from vlmflow.probes import Probe
from vlmflow.settings import Name, Strict

from .effects import EffectTable, Reading, largest_effects
from .panels import Axes, FigureData, Frame, Layout, subtitle, with_panels
from .style import STROKES, name_of

if TYPE_CHECKING:  # altair takes a second to import, and a study is read without it
    import altair as alt

    from .marks.lines import LineChartData

P = TypeVar("P", bound=Probe)


class Chart(Strict, Generic[P]):
    """A figure of a study, drawn from one probe for every model.

    Attributes:
        draws: the kinds of probe that it can draw.
        tabulates_curve_features: whether the phases or knees of these probes' curves are tabulated by
            `curve_feature_rows`.
        table_has_all: whether the table under the figure has every number of its sentence.
    """

    draws: ClassVar[tuple[type[Any], ...]]
    tabulates_curve_features: ClassVar[bool] = False
    table_has_all: ClassVar[bool] = False

    probe: Name
    title: str = ""
    chart: str

    @classmethod
    def kind(cls) -> str:
        """The chart's name in the study file."""
        return get_args(cls.model_fields["chart"].annotation)[0]

    @classmethod
    def probe_kinds(cls) -> list[str]:
        """Names of the kinds of probe that it can draw."""
        return [get_args(probe.model_fields["kind"].annotation)[0] for probe in cls.draws]

    @property
    def chosen_lines(self) -> list[str]:
        """The lines that the study file names, in its order; empty where it names none."""
        return []

    @property
    def curve_features_shown(self) -> bool:
        """Whether the figure shows phases or knees."""
        return False

    @property
    def examples_per_task(self) -> int:
        """How many questions the figure shows with their images; 0 where it shows averages."""
        return 0

    @classmethod
    def curve_feature_rows(cls, features: pl.DataFrame) -> pl.DataFrame:
        """The table of phases or knees as a reader sees it: headings, and numbers as text.

        Args:
            features: phases or knees of the curves of one probe.
        """
        raise NotImplementedError(f"the chart {cls.kind()} has no phases and no knees")

    def check(self, probe: P, name: str) -> None:
        """Check that the probe measures everything that the figure's settings name.

        Args:
            probe: of one of the kinds that the chart draws.
            name: of the figure in the study file.

        Raises:
            ValueError: the probe does not measure what the figure shows; the message begins with the key.
        """

    @abstractmethod
    def caption(self, probe: P) -> str:
        """What the figure shows, with the settings that a reader needs."""

    @abstractmethod
    def draw(self, probe: P, data: FigureData, layout: Layout) -> "alt.TopLevelMixin | None":
        """The figure of one model; None if nothing could be measured."""

    @abstractmethod
    def data_rows(self, probe: P, data: FigureData) -> pl.DataFrame:
        """The rows behind the figure of one model, as its CSV file has them; without columns of lists."""

    @abstractmethod
    def sentence(self, probe: P, summary: pl.DataFrame, model: str, features: pl.DataFrame | None = None) -> str:
        """The main numbers of one model as sentences; empty for a figure of single examples.

        Args:
            probe: as the study file has it.
            summary: the probe's summary, all models and tasks.
            model: name of the model in the summary.
            features: phases or knees, all models and tasks.
        """

    @abstractmethod
    def effects(self, probe: P, summary: pl.DataFrame) -> EffectTable:
        """The largest effect of each line in each task of each model: value, interval, and where it is."""


class SummaryChart(Chart[P], Generic[P]):
    """A chart of a probe's averages.

    Attributes:
        reading: how the table under the figure shows the means; a property where it depends on the chart's settings.
    """

    if TYPE_CHECKING:

        @property
        def reading(self) -> Reading:
            """How the table under the figure shows the means."""

    @abstractmethod
    def axes(self, probe: P) -> Axes:
        """Which columns of the summary are drawn, and the titles of the axes."""

    def chosen_rows(self, rows: pl.DataFrame, probe: P) -> pl.DataFrame:
        """The rows that the figure shows.

        Args:
            rows: all rows of one model that have a mean.
            probe: as the study file has it.
        """
        return rows

    def rows(self, summary: pl.DataFrame, probe: P, model: str) -> pl.DataFrame:
        """The rows of a summary that the figure of one model shows."""
        return self.chosen_rows(measured_rows(summary, model), probe)

    def data_rows(self, probe: P, data: FigureData) -> pl.DataFrame:
        """See `Chart.data_rows`."""
        rows = self.rows(data.summary, probe, data.model)
        return rows.select(pl.exclude("note")) if "note" in rows.columns else rows

    def line_names(self, lines: Iterable[str], probe: P) -> dict[str, str]:
        """Line → its name in legends and tables; prompts keep the user's own names."""
        own = self.axes(probe).line == "prompt"
        return {line: line if own else name_of(line) for line in lines}

    def panel_note(self, panel: pl.DataFrame, probe: P) -> str:
        """The text that a panel's heading adds to the number of questions."""
        return ""

    def draw(self, probe: P, data: FigureData, layout: Layout) -> "alt.TopLevelMixin | None":
        """See `Chart.draw`."""
        rows = self.rows(data.summary, probe, data.model)
        if len(rows) == 0:
            return None
        keys = self.axes(probe).panels
        rows, headings = with_panels(rows, keys, data.tasks, lambda panel: self.panel_note(panel, probe))
        texts = subtitle(rows, data.model, layout.columns)
        frame = Frame(self.title, texts, headings, layout.columns, layout.interactive)
        return self.draw_rows(rows, probe, frame, data, layout)

    @abstractmethod
    def draw_rows(
        self, rows: pl.DataFrame, probe: P, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """The figure.

        Args:
            rows: the rows that it shows, at least one, with the column `panel`.
            probe: as the study file has it.
            frame: title, subtitle and headings of the panels.
            data: all tables from which it is drawn.
            layout: the medium for which it is drawn.
        """

    def sentence(self, probe: P, summary: pl.DataFrame, model: str, features: pl.DataFrame | None = None) -> str:
        """See `Chart.sentence`."""
        rows = self.rows(summary, probe, model)
        if len(rows) == 0:
            return f"{model}: {why_nothing(summary, model)}"
        own = None if features is None else features.filter(pl.col("model") == model)
        # Layer −1 is the embedding; sentences have a true minus.
        return f"{model}: {self.describe(rows, probe, own)}".replace("layer -", "layer −")

    @abstractmethod
    def describe(self, rows: pl.DataFrame, probe: P, features: pl.DataFrame | None) -> str:
        """The main numbers of one model as sentences.

        Args:
            rows: the rows that the figure shows, at least one.
            probe: as the study file has it.
            features: phases or knees of the model.
        """

    def tabulated(self, rows: pl.DataFrame, probe: P) -> pl.DataFrame:
        """Rows of a summary with the columns that the table of effects reads."""
        return rows

    def tabulated_lines(self, shown: pl.DataFrame, summary: pl.DataFrame, probe: P) -> list[str]:
        """The columns of the table of effects.

        Args:
            shown: the rows with a mean that the figure shows, all models.
            summary: all rows, also those without a mean.
            probe: as the study file has it.
        """
        rows = shown if len(shown) else summary
        return self.chosen_lines or rows[self.axes(probe).line].unique(maintain_order=True).to_list()

    def position(self, row: dict[str, Any], axes: Axes) -> str:
        """The position of a row on the x axis, as text."""
        value = row[axes.x]
        return value if isinstance(value, str) else f"{self.reading.position} {value:.4g}".replace(" -", " −")

    def effects(self, probe: P, summary: pl.DataFrame) -> EffectTable:
        """See `Chart.effects`."""
        models = summary["model"].unique(maintain_order=True)
        shown = pl.concat([self.rows(summary, probe, model) for model in models] or [summary])
        shown, summary = self.tabulated(shown, probe), self.tabulated(summary, probe)
        lines = self.tabulated_lines(shown, summary, probe)
        axes = self.axes(probe)
        return largest_effects(
            shown,
            summary,
            axes,
            self.reading,
            names=self.line_names(lines, probe),
            position=lambda row: self.position(row, axes),
        )


class LineChart(SummaryChart[P], Generic[P]):
    """A chart of lines with bands for their intervals."""

    def known_lines(self, probe: P) -> Iterable[str]:
        """Lines that come first in the legend, in this order."""
        return STROKES

    def draw_rows(
        self, rows: pl.DataFrame, probe: P, frame: Frame, data: FigureData, layout: Layout
    ) -> "alt.TopLevelMixin":
        """See `SummaryChart.draw_rows`."""
        from .marks.lines import LineChartData, draw_lines

        axes = self.axes(probe)
        present = rows[axes.line].unique(maintain_order=True).to_list()
        ordered = self.chosen_lines or [*(line for line in self.known_lines(probe) if line in present), *present]
        lines = [line for line in dict.fromkeys(ordered) if line in present]
        lines_data = LineChartData(rows, axes, self.line_names(lines, probe))
        if data.curve_features is not None:
            own = data.curve_features.filter(pl.col("model") == data.model)
            lines_data = self.with_curve_features(lines_data, own)
        return draw_lines(lines_data, frame)

    def with_curve_features(self, data: "LineChartData", features: pl.DataFrame) -> "LineChartData":
        """The lines with their phases or knees.

        Args:
            data: the lines of one model.
            features: phases or knees of the model.
        """
        return data


def measured_rows(summary: pl.DataFrame, model: str) -> pl.DataFrame:
    """The rows of one model that have a mean."""
    return summary.filter((pl.col("model") == model) & pl.col("mean").is_not_null())


def why_nothing(summary: pl.DataFrame, model: str) -> str:
    """The reason why a figure of a model is empty: the first note of its rows, or a general sentence."""
    if "note" in summary.columns:
        notes = summary.filter((pl.col("model") == model) & pl.col("note").is_not_null())["note"]
        if len(notes):
            return str(notes[0])
    if len(measured_rows(summary, model)):
        return "nothing that the figure shows could be measured."
    return "there was no question to analyse."
