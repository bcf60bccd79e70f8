"""One module a probe: from a model and a prompt to rows."""

from typing import TYPE_CHECKING, Any

import polars as pl

from vlmflow.prompts import Prompt
from vlmflow.study import KnockoutProbe, LensProbe, NormsProbe, Probe, PruningProbe, WordsProbe
from vlmflow.tasks import right_answer

from .knockout import knockout
from .lens import answer_words, lens
from .norms import norms
from .pruning import pruning
from .words import words

if TYPE_CHECKING:
    from vlmflow.models import LanguageModel

__all__ = ["measure"]


def measure(vlm: "LanguageModel", prompt: Prompt, probe: Probe, question: dict[str, Any]) -> pl.DataFrame:
    """The probe's rows for one question, without the columns that name the question.

    `question` is its row of the table `task`, with `token_ids` of what the model answered and, for `pruning`, `timed`.
    """
    match probe:
        case KnockoutProbe():
            answer = question["token_ids"]
            rows = knockout(vlm, prompt, probe.edges, probe.window, answer if probe.token == "last" else None)
            return rows.with_columns(sub_words=pl.lit(len(answer), dtype=pl.Int32))
        case LensProbe():
            return lens(vlm, prompt, answer_words(question["answer"], question["false_option"]), probe.final_norm)
        case WordsProbe():
            return words(
                vlm,
                prompt,
                modules=probe.modules,
                edges=probe.edges or (),
                window=probe.window,
                top=probe.top,
                pooled=probe.pooled,
            )
        case NormsProbe():
            related = pl.Series([question.get("related")], dtype=pl.List(pl.Int32))
            return norms(vlm, prompt).with_columns(related=related)
        case PruningProbe():
            answer = right_answer(question)
            return pruning(vlm, prompt, probe.last, answer, question["token_ids"], with_time=question["timed"])
