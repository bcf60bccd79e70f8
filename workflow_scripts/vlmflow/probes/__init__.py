"""One module a probe: from a model and a prompt to rows."""

from typing import TYPE_CHECKING, Any

import polars as pl

from vlmflow.prompts import Prompt
from vlmflow.study import KnockoutProbe, LensProbe, Probe

from .knockout import knockout
from .lens import answer_words, lens

if TYPE_CHECKING:
    from vlmflow.models import VisionLanguageModel

__all__ = ["measure"]


def measure(vlm: "VisionLanguageModel", prompt: Prompt, probe: Probe, question: dict[str, Any]) -> pl.DataFrame:
    """The probe's rows for one question, without the columns that name the question."""
    match probe:
        case KnockoutProbe():
            return knockout(vlm, prompt, probe.edges, probe.window)
        case LensProbe():
            words = answer_words(question["answer"], question["false_option"])
            return lens(vlm, prompt, words, probe.final_norm)
