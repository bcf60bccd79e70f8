"""The base of every probe; a probe is one folder that owns everything that is true of it alone.

`probes/<kind>/__init__.py` holds the class: the keys of the study file, the tables, their averaging, and
the probe's cost and requirements.  Reading a study imports it, so it must not import torch.
`probes/<kind>/measure.py` holds the measurement, and is imported when a job runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.curve_features import CurveFeatures
from vlmflow.analysis.summaries import Averaging
from vlmflow.data.sampling import sample
from vlmflow.edges import IMAGE_SEGMENTS, SINK_SEGMENTS, Edge, EdgeGroup
from vlmflow.models.size import Size
from vlmflow.own_segments import OwnSegments, with_referred
from vlmflow.settings import ModelName, Name, Strict, each_once
from vlmflow.tables import Table

from .chapters import Chapter
from .cost import Work
from .study_view import StudyView

if TYPE_CHECKING:  # these import torch
    from vlmflow.models.vision_language import LanguageModel

    from .context import ProbeContext
    from .question import Question


AnswersAnalysed = Literal["any", "correct", "wrong"]


@dataclass(frozen=True)
class ProbeTables:
    """What a probe's job reads about one task.

    Attributes:
        questions: the table `task`.
        answers: the table `answers`.
        selected: the table `selected`.
        patches: the table `patches`; None for models that do not read images.
        norms: the table of the probe `Probe.norms_probe`, if there is one.
    """

    questions: pl.DataFrame
    answers: pl.DataFrame
    selected: pl.DataFrame
    patches: pl.DataFrame | None = None
    norms: pl.DataFrame | None = None


class Probe(Strict, ABC):
    """A probe: the part of the study on which it is run, and its declarations."""

    chapter: ClassVar[Chapter]  # of the report
    table: ClassVar[Table]  # the table of its rows
    averaging: ClassVar[Averaging]  # how these rows are averaged over questions
    features: ClassVar[CurveFeatures | None] = None  # phases or knees of its averaged curves
    former_kinds: ClassVar[tuple[str, ...]] = ()  # earlier names of `kind`
    # Keys that only choose questions, or only name other probes: the measurement of a question does not depend on them.
    choosing_keys: ClassVar[frozenset[str]] = frozenset({"models", "tasks", "questions", "answers"})
    knows_sinks: ClassVar[bool] = False  # whether it has a key that defines sinks
    uses_match: ClassVar[bool] = False  # whether its rows depend on the study's `answers_match`

    kind: str
    models: Annotated[list[ModelName], AfterValidator(each_once("model"))] | None = Field(
        None, min_length=1, description="Only these models; by default all to which the probe applies."
    )
    tasks: Annotated[list[Name], AfterValidator(each_once("task"))] | None = Field(
        None, min_length=1, description="Only these tasks; by default all."
    )
    questions: int | None = Field(
        None, ge=1, description="Largest number of analysed questions per task; by default all."
    )
    own_segments: OwnSegments = Field(
        default_factory=dict, description="Those of the study's segments that the probe names; the study adds them."
    )

    @classmethod
    def kind_name(cls) -> str:
        """The name of the kind in study files."""
        return str(get_args(cls.model_fields["kind"].annotation)[0])

    @classmethod
    def summary_table(cls) -> Table:
        """The table of the means of its rows."""
        return cls.averaging.table(cls.table)

    # --- requirements ---

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """The edges that the probe blocks or measures, if any; those of a group together."""
        return []

    @property
    def segments_named(self) -> list[str]:
        """The segments that the settings name."""
        return [name for edge in self.parsed_edges for name in (edge.source, edge.target)]

    @property
    def segments_needed(self) -> list[str]:
        """These, and the segments by which the study's own ones are defined."""
        return with_referred(self.segments_named, self.own_segments)

    @property
    def parsed_edges(self) -> list[Edge]:
        """The edges of all groups, each once."""
        return list(dict.fromkeys(edge for group in self.edge_groups for edge in group.edges))

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """The values that a column of its averaged rows can have; None if the settings do not determine them."""
        if column == "quantity" and column in self.averaging.by:
            return list(self.averaging.quantities)
        return [str(group) for group in self.edge_groups] if column == "edge" else None

    @property
    def needs(self) -> str | None:
        """The input that a model must read: image, captions, or either of them (None)."""
        segments = self.segments_needed
        images = [name for name in segments if name in IMAGE_SEGMENTS]
        if images and "caption" in segments:
            raise ValueError(
                f"no prompt has both {images[0]!r} and 'caption'; make two probes, one for models that read "
                "images and one for those that read captions"
            )
        return "image" if images else "captions" if "caption" in segments else None

    @property
    def needs_patches(self) -> bool:
        """Whether it needs the patch maps of its questions: only then do its jobs wait for them."""
        return any("patches" in name for name in self.segments_needed)

    @property
    def answers_analysed(self) -> AnswersAnalysed:
        """The questions that are measured: any question that was asked, the sample of correctly answered ones, or all
        that were answered wrongly."""
        return "correct"

    @property
    def layers_required(self) -> dict[str, int]:
        """Key → number of layers that a model must have for the key's value."""
        return {}

    def too_deep(self, key: str, layers: int) -> tuple[str, int]:
        """(what is wrong with a key that requires more than `layers` layers, the largest value that is right)."""
        return f"{self.layers_required[key]} is more than the {layers} layers", layers

    @property
    def detailed(self) -> int:
        """The number of questions per task on which more is measured; see `Question.in_detail`."""
        return 0

    @property
    def uses_seed(self) -> bool:
        """Whether its rows depend on the seed; they do not if all questions are sampled."""
        return bool(self.questions or self.detailed)

    @property
    def measuring_settings(self) -> dict[str, Any]:
        """The settings on which the measurement of a question depends."""
        return self.model_dump(mode="json", exclude=set(self.choosing_keys))

    @property
    def norms_probe(self) -> str | None:
        """The probe of kind norms whose table it reads; None if it reads none."""
        return None

    @property
    def exports_states(self) -> bool:
        """Whether the states in its rows are also written as safetensors, for other programs."""
        return False

    @property
    def cache_size(self) -> int:
        """The number of results that are kept for the following questions."""
        return 0

    def check(self, name: str, study: StudyView) -> None:
        """Check the probe `name` against the study that it is part of.

        Raises:
            ValueError: they do not fit; the message names the key, the mistake and the remedy.
        """
        for task in self.tasks or []:
            if task not in study.tasks:
                raise ValueError(
                    f"probes.{name}.tasks: there is no task {task!r}; choose from {', '.join(study.tasks)}"
                )
        for model in self.models or []:
            if self.needs not in (None, study.reads[model]):
                raise ValueError(
                    f"probes.{name}.models: {model!r} reads {study.reads[model]}, but this probe is about a prompt "
                    f"with {self.needs}"
                )
        if not study.models_of(name):
            raise ValueError(
                f"probes.{name}: no model of the study reads {self.needs}; add one with reads: {self.needs}"
            )

    def check_model(self, name: str, vlm: "LanguageModel") -> None:
        """Check the probe `name` against a model.

        Raises:
            ModelError: the model does not meet a requirement of the probe; the message names the key.
        """
        from vlmflow.errors import ModelError

        for key, required in self.layers_required.items():
            if required > len(vlm.layers):
                raise ModelError(f"probes.{name}.{key}: {self.too_deep(key, len(vlm.layers))[0]} of the model")

    # --- execution ---

    @abstractmethod
    def cost(self, size: Size, questions: int) -> Work:
        """The work for one question.

        Args:
            size: size of the model.
            questions: number of questions of a task; some probes measure more on a few of each task.
        """

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """The question rows with the additional columns that this probe needs, in the order in which it measures them.

        Args:
            rows: rows of the table `task`, with the columns of `patches` and the answer's token ids.
            tables: of the task.
            seed: of the sample.
        """
        if not self.detailed:
            return rows
        sampled = sample(rows["question_id"], self.detailed, seed or 0)
        return rows.with_columns(in_detail=pl.col("question_id").is_in(sampled.implode()))

    def others(self, questions: Sequence["Question"]) -> Mapping[str, Sequence["Question"]]:
        """Question id → the other ones of its task's questions on which its measurement depends, if there are any."""
        return {}

    def measure(self, context: "ProbeContext", question: "Question") -> pl.DataFrame:
        """The probe's rows for one question, without question_id and image_id, from `measure` of its folder.

        Raises:
            QuestionError: this question cannot be measured.
        """
        rows: pl.DataFrame = import_module(f"{type(self).__module__}.measure").measure(self, context, question)
        return rows

    @model_validator(mode="after")
    def _one_kind_of_prompt(self) -> "Probe":
        _ = self.needs
        unknown = [] if self.knows_sinks else [name for name in self.segments_needed if name in SINK_SEGMENTS]
        if unknown:
            raise ValueError(f"segment {unknown[0]!r}: only a knockout knows which patches are sinks, by its key sinks")
        return self


class SampleProbe(Probe):
    """A probe that measures the sample of correctly answered questions, and on request any other ones."""

    answers: AnswersAnalysed = Field(
        "correct",
        description="correct: the sample of the questions that were answered correctly; wrong: all that were answered "
        "wrongly; any: all that were asked.",
    )

    @property
    def answers_analysed(self) -> AnswersAnalysed:
        """See `Probe.answers_analysed`."""
        return self.answers


class AnyAnswerProbe(SampleProbe):
    """A probe that can also measure questions without a correct answer, and measures all by default."""

    renamed_values: ClassVar = {"answers": {"right": "correct"}}

    answers: AnswersAnalysed = Field("any", description=SampleProbe.model_fields["answers"].description)


class ImageProbe(AnyAnswerProbe):
    """A probe about the image's tokens."""

    @property
    def needs(self) -> str | None:
        """See `Probe.needs`."""
        return "image"


def parse_edges(edges: Sequence[str] | None) -> list[EdgeGroup]:
    """The parsed edges of a study file."""
    return [EdgeGroup.parse(edge) for edge in edges or ()]
