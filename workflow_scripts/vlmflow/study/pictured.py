"""Probes of how picture and words meet in the states; [phase] and [thesis]."""

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts
from vlmflow.settings import Edges, each_once

from .settings import ProbeSettings

ATTENTION_EDGES = [
    "image -> image",
    "image -> question",
    "question -> question",
    "image -> template",
    "question -> template",
    "image -> last",
    "question -> last",
    "template -> last",
]


class AskedProbe(ProbeSettings):
    """A probe that is not about right answers only."""

    answers: Literal["any", "right"] = Field(
        "any", description="Analyse any question that was asked, or the sample of those that were answered rightly."
    )


class PictureProbe(AskedProbe):
    """A probe about the picture's tokens."""

    @property
    def needs(self) -> str | None:
        """See `ProbeSettings.needs`."""
        return "picture"


class SimilarityProbe(PictureProbe):
    """Contextualisation: mean cosine similarity between and within picture and text, at every layer."""

    kind: Literal["similarity"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text, in which {question}, {answer}, {object} stand.")
    partners: int = Field(
        4, ge=1, description="With the tokens of so many unrelated questions the similarity is compared."
    )


class AttentionProbe(AskedProbe):
    """Attention weights, and norms of what they carry, between segments, at every layer."""

    kind: Literal["attention"]
    edges: Edges = Field(ATTENTION_EDGES, description="Each as 'source -> target'; or all.")


class AttentionMapProbe(PictureProbe):
    """Which patches the instruction looks at, at every layer, by attention weights and by norms."""

    kind: Literal["attention-map"]
    targets: Annotated[
        list[Literal["question", "objects", "options", "template", "last"]], AfterValidator(each_once("target"))
    ] = Field(["question", "last"], min_length=1, description="Who looks.")


class VisualLensProbe(PictureProbe):
    """Logit lens on the picture's tokens: which words they decode to, at every layer."""

    kind: Literal["visual-lens"]
    top: int = Field(5, ge=1, description="Words a patch, among which names and attributes are looked for.")
    instructions: Annotated[list[Literal["right", "wrong", "none"]], AfterValidator(each_once("instruction"))] = Field(
        ["right", "wrong", "none"], description="The question, that of another picture, none at all."
    )
    places: Annotated[list[Literal["after", "before"]], AfterValidator(each_once("place"))] = Field(
        ["after", "before"],
        min_length=1,
        description="Where the instruction stands; a causal decoder's picture cannot see what stands after it.",
    )
    examples: int = Field(4, ge=0, description="Of so many questions a task, every patch's word is kept.")

    @model_validator(mode="after")
    def _right_one_is_measured(self) -> "VisualLensProbe":
        if "right" not in self.instructions:
            raise ValueError("instructions: right is missing, with which the others are compared")
        return self


class BudgetProbe(PictureProbe):
    """Loss of the reference answer when only some of the picture's tokens are kept."""

    kind: Literal["budget"]
    prompts: Prompts = Field(OWN_QUESTION, description="Name → text, in which {question}, {object} stand.")
    keep: Annotated[list[Literal["first", "spread", "random"]], AfterValidator(each_once("way"))] = Field(
        ["first", "spread", "random"],
        min_length=1,
        description="Which are kept: the first ones, ones that are spread evenly, or random ones.",
    )
    draws: int = Field(3, ge=1, description="Of random tokens, over which the loss is averaged.")

    @model_validator(mode="after")
    def _answer_is_not_given_away(self) -> "BudgetProbe":
        for name, text in self.prompts.items():
            if "answer" in [place for _, place, *_ in Formatter().parse(text)]:
                raise ValueError(
                    f"prompts.{name}: {{answer}} gives away what the loss is measured on; known here are {{question}}, "
                    "{object}"
                )
        return self


class PlacesProbe(PictureProbe):
    """Loss of the reference answer without each cell of a grid over the picture."""

    kind: Literal["places"]
    grid: int = Field(6, ge=2, description="Cells a side.")
