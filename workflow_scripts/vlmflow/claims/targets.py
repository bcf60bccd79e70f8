"""Targets: the numbers that a paper prints, beside what a study measures."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import polars as pl
import yaml
from pydantic import Field, model_validator

from vlmflow.analysis.line import NotDefinedError
from vlmflow.settings import Strict

from .declared import Measure
from .measure import Measuring, Scope, defined
from .sources import Source

TARGETS = Path(__file__).with_name("targets.yaml")


class Target(Strict):
    """A printed number, and how a study measures it."""

    source: str = Field(description="Where in the paper.")
    what: str = Field(description="What the number is, in words.")
    model: str | None = Field(None, description="The model that it is about.")
    study: str | None = Field(None, description="The study that measures it.")
    value: float | None = Field(None, description="The printed number.")
    about: float = Field(0.005, ge=0, description="How far off it may be, as it is rounded, or read off a figure.")
    above: float | None = Field(None, description="A printed lower bound.")
    below: float | None = Field(None, description="A printed upper bound.")
    unit: str = ""
    tasks: list[str] | None = Field(None, description="Only these tasks; by default all of the probe.")
    each: Literal["task"] | None = Field(None, description="A number per task, and not the mean over tasks.")
    measure: Measure | None = Field(None, description="What is measured; see papers.yaml.")
    checked: str | None = Field(None, description="The test that checks a number for which no weights are needed.")
    unlisted: str | None = Field(None, description="Where a reader finds the number, if no measure gives it.")

    @model_validator(mode="after")
    def _it_is_found_somewhere(self) -> "Target":
        if sum(each is not None for each in (self.measure, self.checked, self.unlisted)) != 1:
            raise ValueError("measure, checked, unlisted: give one of them")
        if self.measure is not None and (self.study is None or self.model is None):
            raise ValueError("model, study: a measure needs both")
        return self

    @property
    def printed(self) -> str:
        """The printed number, as text."""
        bounds = [f"> {self.above:g}"] if self.above is not None else []
        bounds += [f"< {self.below:g}"] if self.below is not None else []
        number = [f"{self.value:g}"] if self.value is not None else bounds
        return " ".join([*number, *([self.unit] if self.unit and number else [])])

    def agrees(self, low: float, high: float) -> bool:
        """Whether an interval is compatible with what is printed."""
        if self.value is not None:
            return low <= self.value + self.about and high >= self.value - self.about
        return (self.above is None or high > self.above) and (self.below is None or low < self.below)


@cache
def paper_targets() -> dict[str, Target]:
    """All targets, by their ids."""
    declared = yaml.safe_load(TARGETS.read_text(encoding="utf-8"))
    return {name: Target.model_validate(target) for name, target in declared["targets"].items()}


def check_targets(study: str, sources: Mapping[str, Source], layers: Mapping[str, int]) -> pl.DataFrame:
    """The targets of a study beside its own numbers.

    Args:
        study: its name.
        sources: name of a probe, an accuracy table, or `answers` → its rows.
        layers: model → number of its layers.

    Returns:
        columns target, source, what, model, scope, printed, found, low, high, verdict (agrees, differs, not measured),
        reason.
    """
    measuring = Measuring({name: [source] for name, source in sources.items()}, layers)
    texts = ("target", "source", "what", "model", "scope", "printed", "verdict", "reason")
    schema = dict.fromkeys(texts, pl.String) | dict.fromkeys(("found", "low", "high"), pl.Float64)
    rows = [
        {"target": name, "source": target.source, "what": target.what, "model": target.model, "printed": target.printed}
        | found
        for name, target in paper_targets().items()
        if target.study == study and target.measure is not None
        for found in _found(target, measuring)
    ]
    order = [*texts[:6], "found", "low", "high", *texts[6:]]
    return pl.DataFrame(rows, schema=schema, orient="row").select(order)


def _found(target: Target, measuring: Measuring) -> Iterator[dict]:
    """The study's number of a target, in each of its scopes."""
    measure, model = target.measure, target.model or ""
    if measure is None or measure.probe is None:
        return
    try:
        if measure.probe not in measuring.sources:
            raise NotDefinedError(f"no claim of the study is judged on {measure.probe}")
        known = measuring.source(measure.probe, model).tasks()
    except NotDefinedError as error:
        yield {"verdict": "not measured", "reason": str(error)}
        return
    tasks = [task for task in known if target.tasks is None or task in target.tasks]
    if not tasks:
        yield {"verdict": "not measured", "reason": "the study has none of its tasks"}
    for these in [(task,) for task in tasks] if target.each or not tasks else [tuple(tasks)]:
        scope = {"scope": these[0] if len(these) == 1 else "mean over tasks"}
        try:
            measured = defined(measuring.measure(measure, Scope(model, None, these), measure.probe))
        except NotDefinedError as error:
            yield scope | {"verdict": "not measured", "reason": str(error)}
            continue
        low, high = measured.interval
        numbers = {"found": float(measured.values[0]), "low": low, "high": high}
        yield scope | numbers | {"verdict": "agrees" if target.agrees(low, high) else "differs"}


def targets_page() -> str:
    """The targets as a Markdown table."""
    lines = [
        "| | in the paper | what | model | printed | measured by |",
        "|---|---|---|---|---|---|",
    ]
    for name, target in paper_targets().items():
        if target.measure is not None:
            where = f"`studies/{target.study}.yaml`"
        else:
            where = f"`{target.checked}`, without weights" if target.checked else str(target.unlisted)
        cells = (name, target.source, target.what, target.model or "", target.printed, where)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
