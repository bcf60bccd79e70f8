"""One study, and what its parts have to do with each other."""

from pydantic import Field, model_validator

from vlmflow.data.settings import (
    AOkVqaDataset,
    CocoCaptionsDataset,
    Dataset,
    GqaDataset,
    GqaPaperDataset,
    OkVqaDataset,
    Sample,
    Task,
    WinogroundDataset,
    has_captions,
)
from vlmflow.data.sources import COCO_URL, GQA_URL, WINOGROUND
from vlmflow.data.spelling import AnswersMatch
from vlmflow.probes import (
    PROBES,
    AnyProbe,
    AttentionMapProbe,
    AttentionProbe,
    KnockoutProbe,
    PlacesProbe,
    Probe,
    VisualLensProbe,
)
from vlmflow.settings import ModelName, Name, Strict

from .figures import (
    CHARTS_OF,
    AccuracyTable,
    AttentionChart,
    ExamplesChart,
    Figure,
    FlowChart,
    LandmarksTable,
    MapChart,
    StudyTable,
    VisualLensChart,
    WindowsChart,
)
from .models import Model


class Study(Strict):
    """One study: data, tasks, models, probes, figures."""

    study: Name
    dataset: Dataset
    tasks: dict[Name, Task] = Field(min_length=1)
    sample: Sample = Field(default_factory=lambda: Sample.model_validate({}))
    answers_match: AnswersMatch = Field(
        "strict",
        description="When what a model says is the right answer: as the paper compares them, or also with other final "
        "punctuation, quotes, Markdown, article.",
    )
    models: dict[ModelName, Model] = Field(min_length=1)
    probes: dict[Name, AnyProbe] = Field(min_length=1)
    figures: dict[Name, Figure] = Field(default_factory=dict)
    tables: dict[Name, StudyTable] = Field(default_factory=dict)

    @property
    def accuracy_tables(self) -> dict[str, AccuracyTable]:
        """Those of the tables that need answers of their own."""
        return {name: table for name, table in self.tables.items() if isinstance(table, AccuracyTable)}

    @property
    def datasets(self) -> list[Dataset]:
        """The study's own, and those of its tasks and tables."""
        others = [*(task.dataset for task in self.tasks.values())]
        others += [table.dataset for table in self.accuracy_tables.values()]
        return [self.dataset, *(dataset for dataset in others if dataset is not None)]

    @property
    def paper_files(self) -> dict[str, tuple[str, str]]:
        """The question files of [flow]: name → (address, sha256)."""
        files: dict[str, tuple[str, str]] = {}
        for dataset in self.datasets:
            if not isinstance(dataset, GqaPaperDataset):
                continue
            for name, sha256 in dataset.sha256.items():
                source = (f"{dataset.base_url}/{name}", sha256)
                if files.setdefault(name, source) != source:
                    raise ValueError(f"{name} cannot come from two addresses, or with two checksums, in one study")
        return files

    @property
    def gqa_url(self) -> str:
        """Where GQA's archives lie, for all datasets of the study."""
        urls = [dataset.base_url for dataset in self.datasets if isinstance(dataset, GqaDataset)]
        urls += [dataset.gqa_url for dataset in self.datasets if isinstance(dataset, GqaPaperDataset)]
        return _one("GQA", urls) or GQA_URL

    @property
    def coco_url(self) -> str:
        """Where COCO's pictures lie, for all datasets of the study."""
        kinds = OkVqaDataset | AOkVqaDataset | CocoCaptionsDataset
        urls = [dataset.coco_url for dataset in self.datasets if isinstance(dataset, kinds)]
        return _one("COCO", urls) or COCO_URL

    @property
    def winoground(self) -> tuple[str, str | None]:
        """(repository, revision) of Winoground, for all datasets of the study."""
        found = [dataset for dataset in self.datasets if isinstance(dataset, WinogroundDataset)]
        _one("Winoground", [f"{dataset.repository} at {dataset.revision or 'main'}" for dataset in found])
        return (found[0].repository, found[0].revision) if found else (WINOGROUND, None)

    def source_of(self, kind: type, key: str) -> str:
        """The address under `key` that all datasets of a kind share."""
        urls = [getattr(dataset, key) for dataset in self.datasets if isinstance(dataset, kind)]
        return _one(kind.__name__.removesuffix("Dataset"), urls) or kind.model_fields[key].default  # type: ignore[attr-defined]

    @property
    def reads(self) -> dict[str, str]:
        """Model → what it reads: picture or captions."""
        return {name: model.reads for name, model in self.models.items()}

    def models_of(self, probe: str) -> list[str]:
        """The models on which a probe is run: those that it names, or all that read what it is about."""
        settings = self.probes[probe]
        fitting = [name for name, model in self.models.items() if settings.needs in (None, model.reads)]
        return [name for name in fitting if settings.models is None or name in settings.models]

    def tasks_of(self, probe: str) -> list[str]:
        """The tasks on which a probe is run."""
        chosen = self.probes[probe].tasks
        return [name for name in self.tasks if chosen is None or name in chosen]

    @model_validator(mode="after")
    def _one_source(self) -> "Study":
        _ = self.gqa_url, self.coco_url, self.paper_files, self.winoground
        for kind, key in (
            (OkVqaDataset, "base_url"),
            (AOkVqaDataset, "url"),
            (CocoCaptionsDataset, "url"),
            (GqaDataset, "captions_url"),
        ):
            self.source_of(kind, key)
        return self

    @model_validator(mode="after")
    def _models_exist(self) -> "Study":
        for key, model in (
            ("sample.answered_by", self.sample.answered_by),
            *((f"tables.{name}.model", table.model) for name, table in self.accuracy_tables.items()),
            *((f"probes.{name}.models", model) for name, probe in self.probes.items() for model in probe.models or []),
        ):
            if model is not None and model not in self.models:
                raise ValueError(f"{key}: there is no model {model!r}; there are {', '.join(self.models)}")
        return self

    @model_validator(mode="after")
    def _tasks_say_what_they_are(self) -> "Study":
        for name, task in self.tasks.items():
            if task.dataset is None and (task.structural is None or task.semantic is None):
                missing = "structural" if task.structural is None else "semantic"
                raise ValueError(
                    f"tasks.{name}.{missing}: this key is missing; only a task with a dataset of its own may be all "
                    "of it"
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
            own = self.tasks[task].dataset
            if not has_captions(own or self.dataset):
                key = f"tasks.{task}.dataset" if own else "dataset"
                raise ValueError(
                    f"{key}: its pictures have no captions for the model {readers[0]!r} to read; of GQA's, give "
                    f"captions: visual-genome, or leave the task {task!r} out of probes.{probe}.tasks, or the model "
                    f"out of probes.{probe}.models"
                )

    @model_validator(mode="after")
    def _figures_fit_probes(self) -> "Study":
        for name, figure in self.figures.items():
            probe = self.probes.get(figure.probe)
            if probe is None:
                raise ValueError(
                    f"figures.{name}.probe: there is no probe {figure.probe!r}; there are {', '.join(self.probes)}"
                )
            if figure.chart not in CHARTS_OF[probe.kind]:
                raise ValueError(
                    f"figures.{name}.chart: {figure.chart!r} cannot draw the probe {figure.probe!r} of kind "
                    f"{probe.kind!r}; use {' or '.join(repr(chart) for chart in CHARTS_OF[probe.kind])}"
                )
            if isinstance(probe, KnockoutProbe):
                _check_measured(name, figure, probe)
            if isinstance(probe, AttentionProbe) and isinstance(figure, AttentionChart):
                _check_edges(name, figure.edges or [], probe.edges, figure.probe)
            if isinstance(figure, MapChart | ExamplesChart):
                _check_target(name, figure, probe)
                _check_layers(name, figure, probe)
            if isinstance(probe, VisualLensProbe):
                _check_lens(name, figure, probe)
        return self

    @model_validator(mode="after")
    def _landmarks_can_be_found(self) -> "Study":
        for name, table in self.tables.items():
            if isinstance(table, LandmarksTable):
                known = [other for other, probe in self.probes.items() if probe.features is not None]
                kinds = " or ".join(probe.kind_name() for probe in PROBES if probe.features is not None)
                if table.probe not in known:
                    raise ValueError(
                        f"tables.{name}.probe: there is no probe {table.probe!r} of kind {kinds}; "
                        + (f"there is {', '.join(known)}" if known else "add one")
                    )
        return self


def _one(what: str, urls: list[str]) -> str | None:
    if len(set(urls)) > 1:
        raise ValueError(f"{what} cannot come from two addresses in one study: {', '.join(sorted(set(urls)))}")
    return urls[0] if urls else None


def _check_measured(name: str, figure: Figure, probe: KnockoutProbe) -> None:
    """Whether the probe measures the edges and the window that the figure shows."""
    if isinstance(figure, FlowChart | WindowsChart):
        _check_edges(name, figure.edges, probe.edges, figure.probe)
    if isinstance(figure, WindowsChart):
        return
    window = getattr(figure, "window", None)
    measured = ", ".join(map(str, probe.window))
    if window is None and len(probe.window) > 1:
        raise ValueError(f"figures.{name}.window: this key is missing; the probe has the windows {measured}")
    if window is not None and window not in probe.window:
        raise ValueError(f"figures.{name}.window: the probe {figure.probe!r} measures {measured}, not {window}")


def _check_edges(figure: str, shown: list[str], measured: list[str], probe: str) -> None:
    for edge in shown:
        if edge not in measured:
            raise ValueError(
                f"figures.{figure}.edges: {edge!r} is not measured by the probe {probe!r}; add it to "
                f"probes.{probe}.edges"
            )


def _check_target(name: str, figure: MapChart | ExamplesChart, probe: Probe) -> None:
    """Whether who looks, in the figure, is someone whom the probe watches."""
    if figure.target is None:
        return
    if not isinstance(probe, AttentionMapProbe):
        raise ValueError(f"figures.{name}.target: in the probe {figure.probe!r} nobody looks; take this key out")
    if figure.target not in probe.targets:
        raise ValueError(
            f"figures.{name}.target: {figure.target!r} is not measured by the probe {figure.probe!r}; add it to "
            f"probes.{figure.probe}.targets"
        )


def _check_layers(name: str, figure: MapChart | ExamplesChart, probe: Probe) -> None:
    """Whether the probe measures something in the figure's layers, as far as that can be told without the model."""
    if figure.layers and isinstance(probe, PlacesProbe):
        raise ValueError(f"figures.{name}.layers: the probe {figure.probe!r} tells no layers apart; take this key out")
    if -1 in (figure.layers or []) and isinstance(probe, AttentionMapProbe):
        raise ValueError(f"figures.{name}.layers: −1 is the embedding, where nobody looks at anything; begin with 0")


def _check_lens(name: str, figure: Figure, probe: VisualLensProbe) -> None:
    """Whether the probe measures what the figure compares, or keeps the words that it shows."""
    if isinstance(figure, ExamplesChart) and probe.examples == 0:
        raise ValueError(
            f"figures.{name}.probe: {figure.probe!r} keeps no words; give a number in probes.{figure.probe}.examples"
        )
    compares = isinstance(figure, VisualLensChart) and figure.quantity in ("agreement", "difference")
    if compares and probe.instructions == ["right"]:
        raise ValueError(
            f"figures.{name}.quantity: the probe {figure.probe!r} has nothing to compare the right instruction with; "
            f"add wrong or none to probes.{figure.probe}.instructions"
        )
