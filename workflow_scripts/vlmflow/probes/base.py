"""What every probe has."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.edges import SINK_SEGMENTS, Edge
from vlmflow.settings import ModelName, Name, Strict, each_once


class ProbeSettings(Strict):
    """What every probe has: on which part of the study it is run."""

    models: Annotated[list[ModelName], AfterValidator(each_once("model"))] | None = Field(
        None, min_length=1, description="Only these; by default all that it fits."
    )
    tasks: Annotated[list[Name], AfterValidator(each_once("task"))] | None = Field(
        None, min_length=1, description="Only these; by default all."
    )
    questions: int | None = Field(
        None, ge=1, description="At most so many of a task's analysed questions; all by default."
    )

    @property
    def edges_asked(self) -> list[Edge]:
        """The edges that the probe knocks out, if it knocks out any."""
        return [Edge.parse(edge) for edge in getattr(self, "edges", None) or []]

    @property
    def needs(self) -> str | None:
        """picture or captions, where the probe is about one of them."""
        segments = [name for edge in self.edges_asked for name in (edge.source, edge.target)]
        pictures = [name for name in segments if name.endswith("patches") or name in ("image", *SINK_SEGMENTS)]
        if pictures and "caption" in segments:
            raise ValueError(
                f"edges: no prompt has both {pictures[0]!r} and 'caption'; make two probes, one for models that read "
                "pictures and one for those that read captions"
            )
        return "picture" if pictures else "captions" if "caption" in segments else None

    @property
    def layers_asked(self) -> dict[str, int]:
        """Key → how many layers a model must have for it."""
        return {}

    @model_validator(mode="after")
    def _one_kind_of_prompt(self) -> "ProbeSettings":
        _ = self.needs
        return self


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
