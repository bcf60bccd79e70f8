"""What a study shows: figures, each drawn from one probe for every model of it, and tables."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.data import AnyDataset
from vlmflow.settings import EdgeText, ModelName, Name, Strict, Window, each_once

Layers = Annotated[
    Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=1), AfterValidator(each_once("layer"))] | None,
    Field(),
]


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


class SimilarityChart(Chart):
    """Mean cosine similarity over the layers."""

    chart: Literal["similarity"]
    by: Literal["pair", "prompt"] = Field(
        "pair", description="A line for image and text, within image, within text; or, of one of them, a line a prompt."
    )
    quantity: Literal["corrected", "raw", "unrelated"] = Field(
        "corrected", description="Less that of unrelated questions, as it is, or that of unrelated questions."
    )
    phases: bool = Field(False, description="Bands for the phases that the curves support; with by: pair.")

    @model_validator(mode="after")
    def _phases_are_of_pairs(self) -> "SimilarityChart":
        if self.phases and (self.by != "pair" or self.quantity != "corrected"):
            raise ValueError("phases: they are found on the three corrected curves; leave out by and quantity")
        return self


class AttentionChart(Chart):
    """Attention weights beside norms, over the layers, a line an edge."""

    chart: Literal["attention"]
    edges: list[EdgeText] | None = Field(None, min_length=1, description="Some of the probe's; by default all.")


class MapChart(Chart):
    """A map over the picture, averaged over questions: of attention a map for some layers, of places one a task."""

    chart: Literal["map"]
    quantity: Literal["share", "weight"] = Field("share", description="Of attention: norms or weights.")
    target: str | None = Field(None, description="Of attention: who looks; by default the probe's first target.")
    layers: Layers = Field(None, description="Of attention: which; by default six from the first to the last.")


class ExamplesChart(Chart):
    """The same on single pictures; of the visual lens, the words that patches decode to."""

    chart: Literal["examples"]
    questions: int = Field(2, ge=1, le=12, description="Pictures a task.")
    quantity: Literal["share", "weight"] = Field("share", description="Of attention: norms or weights.")
    target: str | None = Field(None, description="Of attention: who looks; by default the probe's first target.")
    layers: Layers = Field(None, description="Which; by default four from the first to the last.")


class VisualLensChart(Chart):
    """What the picture's tokens decode to, over the layers."""

    chart: Literal["visual-lens"]
    quantity: Literal["names", "entropy", "words", "agreement", "difference"] = Field(
        "names",
        description="Patches that say their object, bits, tokens that are words, tokens with the same word as with the "
        "right instruction, or how many more say their object than with it.",
    )


class BudgetChart(Chart):
    """Loss over the number of the picture's tokens that are kept, with the knee."""

    chart: Literal["budget"]
    by: Literal["keep", "prompt"] = Field("keep", description="A line for each way to keep tokens, or for each prompt.")


Figure = Annotated[
    FlowChart
    | WindowsChart
    | AtlasChart
    | LensChart
    | WordsChart
    | NormsChart
    | PruningChart
    | SimilarityChart
    | AttentionChart
    | MapChart
    | ExamplesChart
    | VisualLensChart
    | BudgetChart,
    Field(discriminator="chart"),
]
# Kind of probe → charts that can draw it.
CHARTS_OF = {
    "knockout": ("flow", "windows", "atlas"),
    "lens": ("lens",),
    "words": ("words",),
    "norms": ("norms",),
    "pruning": ("pruning",),
    "similarity": ("similarity",),
    "attention": ("attention",),
    "attention-map": ("map", "examples"),
    "visual-lens": ("visual-lens", "examples"),
    "budget": ("budget",),
    "places": ("map", "examples"),
}


class TasksTable(Strict):
    """The questions that are asked: types, an example and the number for each task; [flow] table 1."""

    table: Literal["tasks"]
    title: str = ""


class AccuracyTable(Strict):
    """A model's accuracy in each structural and semantic group of a whole dataset; [flow] table 2."""

    table: Literal["accuracy"]
    model: ModelName
    dataset: AnyDataset | None = Field(None, description="Another one than the study's.")
    per_group: int | None = Field(None, ge=1, description="At most so many questions a group; all by default.")
    seed: int = Field(0, ge=0, description="Of the draw, where `per_group` limits it.")
    shards: int = Field(16, ge=1, description="Jobs among which the questions are scattered.")
    title: str = ""


class LandmarksTable(Strict):
    """What is found on a probe's curves: phases of similarity, knees of budgets."""

    table: Literal["landmarks"]
    probe: Name
    title: str = ""


StudyTable = Annotated[TasksTable | AccuracyTable | LandmarksTable, Field(discriminator="table")]
