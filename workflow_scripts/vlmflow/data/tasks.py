"""The questions of a study: its tasks, and the sample that is analysed."""

from typing import Literal

from pydantic import Field

from vlmflow.settings import ModelName, Strict

from . import AnyDataset


class Task(Strict):
    """A group of questions by GQA's types (describe and caption are added here); or all questions of a dataset."""

    structural: Literal["choose", "compare", "logical", "query", "verify", "describe"] | None = Field(
        None, description="Keep only this structural type."
    )
    semantic: Literal["attr", "cat", "rel", "obj", "global", "caption"] | None = Field(
        None, description="Keep only this semantic type."
    )
    detailed: list[str] | None = Field(None, description="Keep only these detailed types.", min_length=1)
    dataset: AnyDataset | None = Field(None, description="Another dataset than the study's.")


class Sample(Strict):
    """Which of a model's correctly answered questions are analysed."""

    per_task: int = Field(1000, ge=1, description="The largest number of questions per task.")
    seed: int = Field(0, ge=0)
    candidates: int | None = Field(
        None, ge=1, description="The largest number of questions per task that are asked, and whose images are fetched."
    )
    answered_by: ModelName | None = Field(
        None,
        description="A model: all models are asked only a sample of the questions that this model answers correctly.",
    )
