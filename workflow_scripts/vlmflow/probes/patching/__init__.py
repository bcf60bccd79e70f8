"""Activation patching: states of another image's run in place of the model's own; what they carry moves the answer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field

from vlmflow.analysis.summaries import Averaging, unpivot_quantities
from vlmflow.models.size import Size
from vlmflow.own_segments import NoSinks
from vlmflow.probes.base import SampleProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import REPLAYED, Work, forward, text_share
from vlmflow.probes.measures import MEASURES, effect_columns
from vlmflow.settings import Window, each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, WINDOW

if TYPE_CHECKING:  # these import torch
    from vlmflow.models.vision_language import LanguageModel
    from vlmflow.probes.question import Question

# Where states are replaced; see `vlmflow.engine.interventions.SITES`, which cannot be imported without torch.
PatchedSite = Literal["input", "attention", "mlp", "head"]
Direction = Literal["noise", "denoise"]
# Measures of a patch, besides those of every intervention.
TOWARDS = ("towards", "becomes")


def _by_unit(rows: pl.DataFrame) -> pl.DataFrame:
    from .units import with_units

    return unpivot_quantities(with_units(rows), (*TOWARDS, *MEASURES))


class PatchingProbe(SampleProbe):
    """States at some positions replaced by those of the same question about another image, the donor."""

    chapter: ClassVar = Chapter.PATCHING
    table: ClassVar = Table(
        "patching",
        ABOUT
        | {
            "donor": Column(pl.String, "id of the other question of the pair"),
            "direction": Column(
                pl.String, "noise: the donor's states in this question's run; denoise: its own in the donor's run"
            ),
            "site": Column(pl.String, "where in a layer states are replaced: input, attention, mlp or head"),
            "segment": Column(pl.String, "the positions at which they are replaced"),
        }
        | WINDOW
        | {"head": Column(pl.Int32, "from 0, at the site head; −1 at others")}
        | effect_columns("p_patched")
        | {
            "towards": Column(
                pl.Float64,
                "percent of the way from the answer of the run to that of the run from which the states come, by the "
                "difference of their log-probabilities; null if these differences are nearly the same in both runs",
                nullable=True,
            ),
            "becomes": Column(
                pl.Float64, "percent: 100 where the other run's answer becomes the most probable, else 0"
            ),
        },
    )
    averaging: ClassVar = Averaging(
        ("direction", "site", "segment", "window", "head", "quantity", "layer"),
        (*TOWARDS, *MEASURES),
        prepare=_by_unit,
        line="segment",
        default="towards",
        halves=True,
        across=("head",),
        shares=("becomes", "flips"),
    )
    # The pairs choose the donors, and a measurement depends on its donor.
    choosing_keys: ClassVar = SampleProbe.choosing_keys | {"pairs"}

    kind: Literal["patching"]
    segments: Annotated[list[NoSinks], AfterValidator(each_once("segment"))] = Field(
        ["image", "question", "last"], min_length=1, description="Segments at whose positions states are replaced."
    )
    sites: Annotated[list[PatchedSite], AfterValidator(each_once("site"))] = Field(
        ["input"],
        min_length=1,
        description="Where in a layer: its input, the output of its attention or MLP, or that of each single head.",
    )
    directions: Annotated[list[Direction], AfterValidator(each_once("direction"))] = Field(
        ["noise"],
        min_length=1,
        description="noise: the donor's states in the run of the question; denoise: the question's states in the run "
        "of the donor.",
    )
    window: Window = Field(1, description="Number of layers around each layer, odd, in which states are replaced.")
    pairs: Literal["same question"] | dict[str, str] = Field(
        "same question",
        description="same question: the donor is the same question about another image of the same size with another "
        "answer, among those that are measured; or id of a question: id of its donor.",
    )

    @property
    def segments_named(self) -> list[str]:
        """See `Probe.segments_named`."""
        return list(self.segments)

    @property
    def needs(self) -> str | None:
        """See `Probe.needs`; the image of a pair is what differs."""
        return super().needs or "image"

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {"window": self.window}

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`."""
        known: dict[str, list[str] | list[int]] = {
            "segment": list(self.segments),
            "site": list[str](self.sites),
            "direction": list[str](self.directions),
            "window": [self.window],
        }
        return known.get(column) or super().values_measured(column)

    def check_model(self, name: str, vlm: "LanguageModel") -> None:
        """See `Probe.check_model`; its sites must be found."""
        from vlmflow.engine.modules import attention_layer, find_module, find_output_projection, head_count
        from vlmflow.errors import InterventionError, ModelError

        super().check_model(name, vlm)
        try:
            layer = attention_layer(vlm.layers)
            if "head" in self.sites:
                head_count(layer)
                find_output_projection(layer)
            for module in ("attention", "mlp"):
                if module in self.sites:
                    find_module(layer, module)
        except InterventionError as error:
            raise ModelError(f"probes.{name}.sites: {error}") from error

    @property
    def cache_size(self) -> int:
        """See `Probe.cache_size`: the donors of all questions."""
        return 1

    def donors(self, questions: Sequence["Question"]) -> Mapping[str, "Question"]:
        """Question id → its donor; see `pairs`."""
        from .pairs import chosen_donors, donors_of_same_questions

        if isinstance(self.pairs, str):
            return donors_of_same_questions(questions)
        return chosen_donors(self.pairs, questions)

    def others(self, questions: Sequence["Question"]) -> Mapping[str, Sequence["Question"]]:
        """See `Probe.others`."""
        return {question: [donor] for question, donor in self.donors(questions).items()}

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        shares = {"last": 1 / size.tokens, "image": 1.0, "question": text_share(size)}
        share = sum(shares.get(segment, text_share(size)) for segment in self.segments)
        per_site = sum(size.heads if site == "head" else 1 for site in self.sites)
        rows = len(self.directions) * per_site * size.layers * share
        runs = 2 + len(self.sites) * len(self.directions)
        return Work(runs * forward() + rows / 2, runs + rows * size.tokens / REPLAYED)
