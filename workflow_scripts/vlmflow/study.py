"""The study file as typed models: the only place where configuration is read."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .edges import Edge

# Names that the results use themselves.
RESERVED = set("training tasks summary figures patches answers selected skipped logs benchmarks".split())


class StudyError(ValueError):
    """A study file with mistakes; the message names each key, what is wrong, and what would be right."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"name {name!r}: use letters, digits, '-' and '_' (it becomes the name of a file)")
    if name in RESERVED or name.endswith("-narrow"):
        raise ValueError(f"name {name!r} is taken by a file or folder of the results; choose another one")
    return name


def _check_edge(text: str) -> str:
    return str(Edge.parse(text))


def _check_window(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"{window} is even; a window reaches equally far to both sides of its layer, so make it odd")
    return window


Name = Annotated[str, AfterValidator(_check_name)]
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
    """Files in the layout of GQA that lie on disk: GQA's own, or one's own questions written that way."""

    source: Literal["gqa"]
    scene_graphs: Path = Field(description="JSON: picture → width, height, objects with boxes.")
    questions: Path = Field(description="JSON: question id → question, answer, types, program.")
    images: Path = Field(description="Folder of {picture id}.jpg or .png.")


Dataset = Annotated[SyntheticDataset | GqaDataset, Field(discriminator="source")]


class Task(Strict):
    """A subgroup of questions, by GQA's own type names."""

    structural: Literal["choose", "compare", "logical", "query", "verify"]
    semantic: Literal["attr", "cat", "rel", "obj", "global"]
    detailed: list[str] | None = Field(None, description="Keep only these detailed types.", min_length=1)


class Sample(Strict):
    """Which of a model's correctly answered questions are analysed."""

    per_task: int = Field(1000, ge=1, description="At most so many questions a task.")
    seed: int = Field(0, ge=0)


class Model(Strict):
    """A vision-language model."""

    path: str = Field(description="A folder, or an id on the Hugging Face hub.")
    revision: str | None = Field(None, description="Commit of a hub id.")
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = Field("float16", description="Type of the weights.")
    instruction: str = Field("", description="Text after the question, for instance to answer in one word.")
    gpus: int = Field(1, ge=0, le=1, description="1: jobs take the machine's first GPU, if it has one; 0: the CPU.")
    note: str = Field("", description="What a reader of the report should know about this model.")

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        looks_local = self.path.startswith((".", "/", "~", "resources/", "results/")) or Path(self.path).is_dir()
        return Path(self.path).expanduser() if looks_local else None

    @property
    def source(self) -> str:
        """What to load: the folder with `~` written out, or the hub id."""
        return self.path if self.folder is None else str(self.folder)

    @property
    def device(self) -> str | None:
        """The CPU where no GPU is asked for; else whatever the machine has."""
        return None if self.gpus else "cpu"


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
CHART_OF = {"knockout": "flow", "lens": "lens"}


class Study(Strict):
    """One study: data, tasks, models, probes, figures."""

    study: Name
    dataset: Dataset
    tasks: dict[Name, Task] = Field(min_length=1)
    sample: Sample = Field(default_factory=lambda: Sample.model_validate({}))
    models: dict[Name, Model] = Field(min_length=1)
    probes: dict[Name, Probe] = Field(min_length=1)
    figures: dict[Name, Figure] = Field(default_factory=dict)

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
    kind = {"dataset": 1, "probes": 2, "figures": 2}.get(keys[0]) if keys else None
    if kind is not None and len(keys) > kind:
        del keys[kind]
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
