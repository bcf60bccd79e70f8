"""What a study shows: figures, each drawn from one probe for every model of it, and tables."""

from typing import Annotated, Literal

from pydantic import Field

from .base import EdgeText, ModelName, Name, Strict, Window
from .datasets import Dataset


class Chart(Strict):
    """What every figure has."""

    probe: Name
    title: str = ""


class FlowChart(Chart):
    """Change of the answer's probability over the layers, a panel a task, a line an edge."""

    chart: Literal["flow"]
    edges: list[EdgeText] = Field(min_length=1)
    window: Window | None = Field(None, description="Which of the probe's windows; needed where it has several.")


class WindowsChart(Chart):
    """As flow, with a panel a window (and task)."""

    chart: Literal["windows"]
    edges: list[EdgeText] = Field(min_length=1)


class AtlasChart(Chart):
    """Every edge of the probe as a row of a heat map, a column a layer, a panel a task."""

    chart: Literal["atlas"]
    window: Window | None = Field(None, description="That is shown first, and in print; needed where it has several.")


class LensChart(Chart):
    """Probability of the words over the layers, a panel a task, a line a word."""

    chart: Literal["lens"]


class WordsChart(Chart):
    """Jaccard similarity of the predicted words over the layers, a panel a task, a line a module or edge."""

    chart: Literal["words"]


class NormsChart(Chart):
    """Distribution of the norms of the image encoder's features, a panel a task."""

    chart: Literal["norms"]
    threshold: float | None = Field(None, gt=0, description="A line at this norm.")


class PruningChart(Chart):
    """Accuracy, work and time over the number of layers without image tokens, a panel a task."""

    chart: Literal["pruning"]


Figure = Annotated[
    FlowChart | WindowsChart | AtlasChart | LensChart | WordsChart | NormsChart | PruningChart,
    Field(discriminator="chart"),
]
# Kind of probe → charts that can draw it.
CHARTS_OF = {
    "knockout": ("flow", "windows", "atlas"),
    "lens": ("lens",),
    "words": ("words",),
    "norms": ("norms",),
    "pruning": ("pruning",),
}


class TasksTable(Strict):
    """The questions that are asked: types, an example and the number for each task; [flow] table 1."""

    table: Literal["tasks"]
    title: str = ""


class AccuracyTable(Strict):
    """A model's accuracy in each structural and semantic group of a whole dataset; [flow] table 2."""

    table: Literal["accuracy"]
    model: ModelName
    dataset: Dataset | None = Field(None, description="Another one than the study's.")
    per_group: int | None = Field(None, ge=1, description="At most so many questions a group; all by default.")
    seed: int = Field(0, ge=0, description="Of the draw, where `per_group` limits it.")
    shards: int = Field(16, ge=1, description="Jobs among which the questions are scattered.")
    title: str = ""


StudyTable = Annotated[TasksTable | AccuracyTable, Field(discriminator="table")]
