"""The study file as typed models: the only place where configuration is read."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .edges import Edge
from .sources import GQA_URL, PAPER_QUESTIONS, PAPER_QUESTIONS_URL

# Conversation templates that come with the workflow, in the folder templates/chat.
TEMPLATES = ("vicuna_v1", "llava_llama_3")

HUB_ID = r"\w[\w.-]*/\w[\w.-]*"

# Names that the results use themselves.
RESERVED = set(
    "training candidates tasks summary figures tables patches sheets answers selected skipped logs benchmarks".split()
)


class StudyError(ValueError):
    """A study file with mistakes; the message names each key, what is wrong, and what would be right."""


def _check_name(name: str, allowed: str = "A-Za-z0-9_-") -> str:
    if not re.fullmatch(rf"[A-Za-z0-9][{allowed}]*", name):
        raise ValueError(f"name {name!r}: use letters, digits, '-' and '_' (it becomes the name of a file)")
    if name in RESERVED or name.endswith("-narrow"):
        raise ValueError(f"name {name!r} is taken by a file or folder of the results; choose another one")
    return name


def _check_model_name(name: str) -> str:
    return _check_name(name, allowed="A-Za-z0-9_.-")  # versions have dots


def _check_edge(text: str) -> str:
    return str(Edge.parse(text))


def _check_window(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"{window} is even; a window reaches equally far to both sides of its layer, so make it odd")
    return window


def _check_url(url: str) -> str:
    if not re.match(r"https?://[^/]", url):
        raise ValueError(f"{url!r} is no address; write it as https://…")
    return url.rstrip("/")


def _check_template(template: str) -> str:
    if template not in ("own", *TEMPLATES) and not template.endswith(".jinja"):
        raise ValueError(f"{template!r} is no template: give own, {', '.join(TEMPLATES)}, or a .jinja file")
    return template


Name = Annotated[str, AfterValidator(_check_name)]
ModelName = Annotated[str, AfterValidator(_check_model_name)]
Url = Annotated[str, AfterValidator(_check_url)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*\.csv$")]
EdgeText = Annotated[str, AfterValidator(_check_edge)]


class Strict(BaseModel):
    """A part of the study file: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticDataset(Strict):
    """Scenes drawn on the spot, with questions of six tasks."""

    source: Literal["synthetic"]
    images: int = Field(600, ge=1, description="How many pictures to draw.")
    seed: int = Field(0, ge=0, description="Another seed, other pictures.")


class GqaDataset(Strict):
    """GQA, or one's own questions written in its layout; what is not given as a file is downloaded."""

    source: Literal["gqa"]
    base_url: Url = Field(GQA_URL, description="Where GQA's three archives lie.")
    split: Literal["train", "val"] = Field("val", description="Of GQA's balanced questions.")
    questions: Path | None = Field(None, description="JSON: question id → question, answer, types, program.")
    scene_graphs: Path | None = Field(None, description="JSON: picture → width, height, objects with boxes.")
    images_dir: Path | None = Field(None, description="Folder of {picture id}.jpg or .png, used in place.")

    @property
    def archives(self) -> str:
        """Where GQA's archives lie."""
        return self.base_url

    @model_validator(mode="after")
    def _files_come_together(self) -> "GqaDataset":
        if (self.questions is None) != (self.scene_graphs is None):
            missing = "scene_graphs" if self.scene_graphs is None else "questions"
            raise ValueError(f"{missing}: give both files, or neither of them to have GQA's own downloaded")
        if self.questions is not None and self.images_dir is None:
            raise ValueError("images_dir: give the folder with the pictures of your questions")
        return self


class GqaPaperDataset(Strict):
    """The questions that [flow] analyses, as its authors published them, on pictures of GQA."""

    source: Literal["gqa-paper"]
    base_url: Url = Field(PAPER_QUESTIONS_URL, description="Where the question files lie.")
    gqa_url: Url = Field(GQA_URL, description="Where GQA's archive of pictures lies.")
    sha256: dict[FileName, Sha256] = Field(
        PAPER_QUESTIONS, min_length=1, description="File → its checksum; these files are read."
    )
    images_dir: Path | None = Field(None, description="Folder of {picture id}.jpg or .png, used in place.")

    @property
    def archives(self) -> str:
        """Where GQA's archives lie."""
        return self.gqa_url


Dataset = Annotated[SyntheticDataset | GqaDataset | GqaPaperDataset, Field(discriminator="source")]


class Task(Strict):
    """A subgroup of questions, by GQA's own type names."""

    structural: Literal["choose", "compare", "logical", "query", "verify"]
    semantic: Literal["attr", "cat", "rel", "obj", "global"]
    detailed: list[str] | None = Field(None, description="Keep only these detailed types.", min_length=1)


class Sample(Strict):
    """Which of a model's correctly answered questions are analysed."""

    per_task: int = Field(1000, ge=1, description="At most so many questions a task.")
    seed: int = Field(0, ge=0)
    candidates: int | None = Field(
        None, ge=1, description="At most so many questions a task are asked at all, and their pictures fetched."
    )
    answered_by: ModelName | None = Field(
        None, description="A model: all models are asked only what is drawn from the questions that it answers rightly."
    )


class Model(Strict):
    """A vision-language model."""

    path: str = Field(description="A folder, or an id on the Hugging Face hub.")
    revision: str | None = Field(
        None, pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$", description="Commit, tag or branch of a hub id."
    )
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = Field("float16", description="Type of the weights.")
    instruction: str = Field("", description="Text after the question, for instance to answer in one word.")
    template: Annotated[str, AfterValidator(_check_template)] = Field(
        "own", description="Conversation template: the model's own, vicuna_v1, llava_llama_3, or a .jinja file."
    )
    fit: Literal["own", "pad", "crop"] = Field(
        "own",
        description="How a picture that is no square is fitted: as the model's processor does it, padded, or cropped.",
    )
    patch_rule: Literal["overlap", "painted"] = Field(
        "overlap", description="Related patches overlap a box, or (as published) keep a pixel of it pure."
    )
    gpus: int = Field(1, ge=0, le=16, description="GPUs that a job of this model takes; 0: the CPU.")
    note: str = Field("", description="What a reader of the report should know about this model.")

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        looks_local = (
            self.path.startswith((".", "/", "~", "resources/", "results/"))
            or not re.fullmatch(HUB_ID, self.path)
            or Path(self.path).is_dir()
        )
        return Path(self.path).expanduser() if looks_local else None

    @property
    def fetched(self) -> str | None:
        """Of a hub id: the file in which `fetch_model` writes down what it fetched."""
        return f"resources/hub/{self.path}/{self.revision or 'main'}.json" if self.folder is None else None


class KnockoutProbe(Strict):
    """Attention knockout: each edge blocked in a window around every layer."""

    kind: Literal["knockout"]
    window: Annotated[int, AfterValidator(_check_window)] = Field(9, ge=1, description="Layers, odd.")
    edges: list[EdgeText] = Field(min_length=1, description="Each as 'source -> target'.")


class LensProbe(Strict):
    """Logit lens at the last position: the answer, with and without a capital, and the false option."""

    kind: Literal["lens"]
    final_norm: bool = Field(True, description="Norm inner states before reading them; the code of [flow] does not.")


Probe = Annotated[KnockoutProbe | LensProbe, Field(discriminator="kind")]


class FlowChart(Strict):
    """Change of the answer's probability over the layers, a panel a task, a line an edge."""

    chart: Literal["flow"]
    probe: Name
    edges: list[EdgeText] = Field(min_length=1)
    title: str = ""


class LensChart(Strict):
    """Probability of the words over the layers, a panel a task, a line a word."""

    chart: Literal["lens"]
    probe: Name
    title: str = ""


Figure = Annotated[FlowChart | LensChart, Field(discriminator="chart")]


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
CHART_OF = {"knockout": "flow", "lens": "lens"}


class Study(Strict):
    """One study: data, tasks, models, probes, figures."""

    study: Name
    dataset: Dataset
    tasks: dict[Name, Task] = Field(min_length=1)
    sample: Sample = Field(default_factory=lambda: Sample.model_validate({}))
    models: dict[ModelName, Model] = Field(min_length=1)
    probes: dict[Name, Probe] = Field(min_length=1)
    figures: dict[Name, Figure] = Field(default_factory=dict)
    tables: dict[Name, StudyTable] = Field(default_factory=dict)

    @property
    def accuracy_tables(self) -> dict[str, AccuracyTable]:
        """Those of the tables that need answers of their own."""
        return {name: table for name, table in self.tables.items() if isinstance(table, AccuracyTable)}

    @property
    def datasets(self) -> list[SyntheticDataset | GqaDataset | GqaPaperDataset]:
        """The study's own, and those of its tables."""
        others = (table.dataset for table in self.accuracy_tables.values())
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
        urls = {dataset.archives for dataset in self.datasets if isinstance(dataset, GqaDataset | GqaPaperDataset)}
        if len(urls) > 1:
            raise ValueError(f"GQA cannot come from two addresses in one study: {', '.join(sorted(urls))}")
        return urls.pop() if urls else GQA_URL

    @model_validator(mode="after")
    def _one_source(self) -> "Study":
        _ = self.gqa_url, self.paper_files
        return self

    @model_validator(mode="after")
    def _models_exist(self) -> "Study":
        for key, model in (
            ("sample.answered_by", self.sample.answered_by),
            *((f"tables.{name}.model", table.model) for name, table in self.accuracy_tables.items()),
        ):
            if model is not None and model not in self.models:
                raise ValueError(f"{key}: there is no model {model!r}; there are {', '.join(self.models)}")
        return self

    @model_validator(mode="after")
    def _figures_fit_probes(self) -> "Study":
        for name, figure in self.figures.items():
            probe = self.probes.get(figure.probe)
            if probe is None:
                raise ValueError(
                    f"figures.{name}.probe: there is no probe {figure.probe!r}; there are {', '.join(self.probes)}"
                )
            if CHART_OF[probe.kind] != figure.chart:
                raise ValueError(
                    f"figures.{name}.chart: {figure.chart!r} cannot draw the probe {figure.probe!r} of kind "
                    f"{probe.kind!r}; use {CHART_OF[probe.kind]!r}"
                )
            if isinstance(figure, FlowChart) and isinstance(probe, KnockoutProbe):
                for edge in figure.edges:
                    if edge not in probe.edges:
                        raise ValueError(
                            f"figures.{name}.edges: {edge!r} is not measured by the probe {figure.probe!r}; "
                            f"add it to probes.{figure.probe}.edges"
                        )
        if same := set(self.probes) & set(self.models):
            raise ValueError(f"probes.{min(same)}: a probe and a model have the same name; rename one of them")
        return self


def read_study(config: Mapping[str, Any], source: str) -> Study:
    """The study in a parsed YAML file; `source` is the file's name, for messages.

    Raises:
        StudyError: with a line for each mistake.
    """
    try:
        return Study.model_validate(config)
    except ValidationError as error:
        lines = [f"  {_place(problem['loc'])}{_plain(problem)}" for problem in error.errors()]
        raise StudyError("\n".join([f"{source} has {len(lines)} mistake(s):", *lines])) from None


def _place(location: tuple[str | int, ...]) -> str:
    """The keys as the user wrote them, without the names of the kinds between which pydantic chose."""
    keys = [str(part) for part in location if part != "[key]"]
    kind = {"dataset": 1, "probes": 2, "figures": 2, "tables": 2}.get(keys[0]) if keys else None
    if kind is not None and len(keys) > kind:
        del keys[kind]
    if keys[:1] == ["tables"] and keys[2:3] == ["dataset"] and len(keys) > 3:
        del keys[3]
    return f"{'.'.join(keys)}: " if keys else ""


def _plain(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return "there is no such key here; check the spelling, or take it out"
        case "missing":
            return "this key is missing"
        case "value_error":
            return message
    given = problem.get("input")
    return message if isinstance(given, dict) else f"{message}, but it is {given!r}"


def write_schema(path: str | Path) -> None:
    """Write the study file's JSON Schema, which editors use to complete and check it."""
    Path(path).write_text(json.dumps(Study.model_json_schema(), indent=2) + "\n", encoding="utf-8")
