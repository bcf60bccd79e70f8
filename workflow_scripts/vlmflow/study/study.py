"""One study, and the checks that need several of its parts."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import Field, model_validator

from vlmflow.claims.declared import StudyClaim
from vlmflow.data import AnyDataset
from vlmflow.data.answer_match import AnswersMatch
from vlmflow.data.base import Dataset, Download, HubDataset
from vlmflow.data.tasks import Sample, Task
from vlmflow.edges import in_brackets
from vlmflow.figures import AnyChart, Chart, charts_of
from vlmflow.own_segments import OwnSegments, with_referred, with_used_segments
from vlmflow.probes import AnyProbe
from vlmflow.settings import ModelName, Name, Strict

from .claims import check_claim
from .models import Model
from .tables import AccuracyTable, StudyTable


class Explorer(Strict):
    """The page of single questions."""

    per_task: int = Field(
        200,
        ge=0,
        description="The largest number of questions per model and task that are shown with their images; the others "
        "are listed only. 0: no such page.",
    )


class Study(Strict):
    """One study: data, tasks, models, probes, figures."""

    study: Name
    dataset: AnyDataset
    tasks: dict[Name, Task] = Field(min_length=1)
    sample: Sample = Field(default_factory=lambda: Sample.model_validate({}))
    answers_match: AnswersMatch = Field(
        "strict",
        description="When a model's answer is correct: strict compares as the paper does; relaxed also ignores final "
        "punctuation, quotes, Markdown and a leading article.",
    )
    models: dict[ModelName, Model] = Field(min_length=1)
    segments: OwnSegments = Field(
        default_factory=dict, description="Segments of the study's own; probes name them in brackets: '[name] -> last'."
    )
    probes: dict[Name, AnyProbe] = Field(min_length=1)
    figures: dict[Name, AnyChart] = Field(default_factory=dict)
    tables: dict[Name, StudyTable] = Field(default_factory=dict)
    claims: dict[Name, StudyClaim] = Field(default_factory=dict)
    explorer: Explorer = Field(default_factory=lambda: Explorer.model_validate({}))

    @property
    def accuracy_tables(self) -> dict[str, AccuracyTable]:
        """The tables that need answers of their own."""
        return {name: table for name, table in self.tables.items() if isinstance(table, AccuracyTable)}

    @property
    def datasets(self) -> list[Dataset]:
        """The study's own dataset, and the datasets of its tasks and tables."""
        others = [*(task.dataset for task in self.tasks.values())]
        others += [table.dataset for table in self.accuracy_tables.values()]
        return [self.dataset, *(dataset for dataset in others if dataset is not None)]

    @property
    def downloads(self) -> dict[str, Download]:
        """Path → its source, for every file that the datasets download."""
        sources: dict[str, Download] = {}
        for path, source in (each for dataset in self.datasets for each in dataset.downloads().items()):
            if sources.setdefault(path, source) != source:
                name = PurePath(path).name
                raise ValueError(f"{name} cannot come from two addresses, or with two checksums, in one study")
        return sources

    @property
    def gated(self) -> dict[str, HubDataset]:
        """Folder → the dataset on the hub that is fetched into it and needs granted access."""
        return {folder: source for dataset in self.datasets for folder, source in dataset.gated().items()}

    def dataset_of_task(self, task: str) -> Dataset:
        """The dataset from which a task takes its questions."""
        return self.tasks[task].dataset or self.dataset

    def dataset_of_table(self, table: str) -> Dataset:
        """The dataset whose questions are asked for an accuracy table."""
        return self.accuracy_tables[table].dataset or self.dataset

    @property
    def reads(self) -> dict[str, str]:
        """Model → what it reads: image or captions."""
        return {name: model.reads for name, model in self.models.items()}

    def models_of(self, probe: str) -> list[str]:
        """The models on which a probe is run: all that read its kind of input, or those of them that it names."""
        settings = self.probes[probe]
        fitting = [name for name, model in self.models.items() if settings.needs in (None, model.reads)]
        return [name for name in fitting if settings.models is None or name in settings.models]

    def tasks_of(self, probe: str) -> list[str]:
        """The tasks on which a probe is run."""
        chosen = self.probes[probe].tasks
        return [name for name in self.tasks if chosen is None or name in chosen]

    @model_validator(mode="before")
    @classmethod
    def _probes_have_their_segments(cls, given: Any) -> Any:
        return with_used_segments(given)

    @model_validator(mode="after")
    def _segments_are_defined(self) -> "Study":
        with_referred(map(in_brackets, self.segments), self.segments)
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "Study":
        known: dict[str, set[str]] = {}
        for publisher, address in (each for dataset in self.datasets for each in dataset.addresses().items()):
            known.setdefault(publisher, set()).add(address)
        for publisher, addresses in known.items():
            if len(addresses) > 1:
                raise ValueError(
                    f"{publisher} cannot come from two addresses in one study: {', '.join(sorted(addresses))}"
                )
        _ = self.downloads
        return self

    @model_validator(mode="after")
    def _models_exist(self) -> "Study":
        for key, model in (
            ("sample.answered_by", self.sample.answered_by),
            *((f"tables.{name}.model", table.model) for name, table in self.accuracy_tables.items()),
            *((f"probes.{name}.models", model) for name, probe in self.probes.items() for model in probe.models or []),
        ):
            if model is not None and model not in self.models:
                raise ValueError(f"{key}: there is no model {model!r}; choose from {', '.join(self.models)}")
        return self

    @model_validator(mode="after")
    def _tasks_have_types(self) -> "Study":
        for name, task in self.tasks.items():
            if task.dataset is None and (task.structural is None or task.semantic is None):
                missing = "structural" if task.structural is None else "semantic"
                raise ValueError(
                    f"tasks.{name}.{missing}: this key is missing; only a task with a dataset of its own may leave "
                    "it out"
                )
        return self

    @model_validator(mode="after")
    def _detailed_types_exist(self) -> "Study":
        for name, task in self.tasks.items():
            dataset = self.dataset_of_task(name)
            known = dataset.detailed_types
            if known is not None and (unknown := [each for each in task.detailed or [] if each not in known]):
                raise ValueError(
                    f"tasks.{name}.detailed: no question of the dataset {dataset.source!r} has the type "
                    f"{unknown[0]!r}; choose from {', '.join(known)}"
                )
        return self

    @model_validator(mode="after")
    def _probes_fit_models(self) -> "Study":
        for name, probe in self.probes.items():
            probe.check(name, self)
            self._check_captions(name)
        if same := set(self.probes) & set(self.models):
            raise ValueError(f"probes.{min(same)}: a probe and a model have the same name; rename one of them")
        return self

    def _check_captions(self, probe: str) -> None:
        readers = [model for model in self.models_of(probe) if self.models[model].reads == "captions"]
        for task in self.tasks_of(probe) if readers else ():
            if not self.dataset_of_task(task).has_captions:
                key = f"tasks.{task}.dataset" if self.tasks[task].dataset else "dataset"
                raise ValueError(
                    f"{key}: its images have no captions for the model {readers[0]!r} to read; for GQA, give "
                    f"captions: visual-genome, or leave the task {task!r} out of probes.{probe}.tasks, or the model "
                    f"out of probes.{probe}.models"
                )

    @model_validator(mode="after")
    def _figures_fit_probes(self) -> "Study":
        figures: Mapping[str, Chart] = self.figures
        for name, figure in figures.items():
            probe = self.probes.get(figure.probe)
            if probe is None:
                raise ValueError(
                    f"figures.{name}.probe: there is no probe {figure.probe!r}; choose from {', '.join(self.probes)}"
                )
            if figure.chart not in (known := charts_of(probe.kind)):
                raise ValueError(
                    f"figures.{name}.chart: {figure.chart!r} cannot draw the probe {figure.probe!r} of kind "
                    f"{probe.kind!r}; use {' or '.join(map(repr, known))}"
                )
            figure.check(probe, name)
        return self

    @model_validator(mode="after")
    def _tables_fit_probes(self) -> "Study":
        for name, table in self.tables.items():
            table.check(self.probes, name)
        return self

    @model_validator(mode="after")
    def _claims_can_be_judged(self) -> "Study":
        for name in self.claims:
            check_claim(name, self)
        return self

    def tables_of(self, kind: str) -> list[str]:
        """Names of the tables of a kind."""
        return [name for name, table in self.tables.items() if table.table == kind]
