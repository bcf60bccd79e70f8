"""Loss with fewer of the image's tokens; [thesis]."""

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.probes.base import PictureProbe
from vlmflow.prompts.prompt_text import OWN_QUESTION, Prompts
from vlmflow.settings import each_once


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
