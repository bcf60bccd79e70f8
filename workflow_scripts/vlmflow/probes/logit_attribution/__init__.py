"""Direct logit attribution: what each head, attention and MLP adds to the answer's logit, not by way of later parts."""

from typing import TYPE_CHECKING, ClassVar, Literal

import polars as pl

from vlmflow.analysis.summaries import Averaging, unpivot_quantities
from vlmflow.models.size import Size
from vlmflow.probes.base import SampleProbe
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import Work, forward
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT

if TYPE_CHECKING:  # it imports torch
    from vlmflow.models.vision_language import LanguageModel

QUANTITIES = ("margin", "logit")


class LogitAttributionProbe(SampleProbe):
    """What each part of the model adds directly to the answer's logit, and to the margin between the options."""

    chapter: ClassVar = Chapter.DECODED
    table: ClassVar = Table(
        "logit_attribution",
        ABOUT
        | {
            "part": Column(pl.String, "embedding, attention, mlp, or head"),
            "layer": Column(pl.Int32, "from 0; −1 for the embedding"),
            "head": Column(pl.Int32, "from 0; −1 where the part is no head"),
            "key_head": Column(pl.Int32, "from 0: heads with the same number share their keys; −1 where it is no head"),
            "logit": Column(
                pl.Float64,
                "what the part adds to the logit of the answer's first sub-word less the mean logit of all tokens; the "
                "scale of the final norm is frozen, and a cap of the logits is left out",
            ),
            "margin": Column(
                pl.Float64,
                "what it adds to the logit of the true option less that of the false one; null without two options "
                "that begin differently",
                nullable=True,
            ),
        },
    )
    averaging: ClassVar[Averaging] = Averaging(
        ("part", "head", "quantity", "layer"),
        QUANTITIES,
        prepare=lambda rows: unpivot_quantities(rows, QUANTITIES),
        further={
            "key_head": (Column(pl.Int32, "heads with the same number share their keys"), pl.col("key_head").first())
        },
        halves=True,
        across=("head",),
        default="logit",
    )

    kind: Literal["logit-attribution"]

    def check_model(self, name: str, vlm: "LanguageModel") -> None:
        """See `Probe.check_model`; the parts of each layer must be found."""
        from vlmflow.engine.modules import find_module, find_output_projection, head_count
        from vlmflow.errors import InterventionError, ModelError

        super().check_model(name, vlm)
        try:
            for layer in vlm.layers:
                head_count(layer)
                find_output_projection(layer)
                find_module(layer, "mlp")
        except InterventionError as error:
            raise ModelError(f"probes.{name}: {error}; name other models in probes.{name}.models") from error

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        return Work(forward(), 2)
