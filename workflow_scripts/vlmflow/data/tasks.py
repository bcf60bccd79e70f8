"""Which questions a study is about: its tasks, and the sample of them that is analysed."""

from typing import Literal

from pydantic import Field

from vlmflow.settings import ModelName, Strict

from . import AnyDataset


class Task(Strict):
    """A subgroup of questions, by GQA's own type names (describe and caption are ours); or all of a dataset."""

    structural: Literal["choose", "compare", "logical", "query", "verify", "describe"] | None = Field(
        None, description="Keep only this structural type."
    )
    semantic: Literal["attr", "cat", "rel", "obj", "global", "caption"] | None = Field(
        None, description="Keep only this semantic type."
    )
    detailed: list[str] | None = Field(None, description="Keep only these detailed types.", min_length=1)
    dataset: AnyDataset | None = Field(None, description="Another one than the study's.")


class Sample(Strict):
    """Which of a model's correctly answered questions are analysed."""

    per_task: int = Field(1000, ge=1, description="At most so many questions a task.")
    seed: int = Field(0, ge=0)
    candidates: int | None = Field(
        None, ge=1, description="At most so many questions a task are asked at all, and their images fetched."
    )
    answered_by: ModelName | None = Field(
        None,
        description="A model: all models are asked only what is drawn from the questions that it answers correctly.",
    )
