"""One module a probe: from a model and a question to rows."""

from collections.abc import Callable

import polars as pl

from vlmflow.data.sampling import correct_answer
from vlmflow.probes import (
    AttentionMapProbe,
    AttentionProbe,
    BudgetProbe,
    KnockoutProbe,
    LensProbe,
    NormsProbe,
    PlacesProbe,
    Probe,
    PruningProbe,
    SimilarityProbe,
    VisualLensProbe,
    WordsProbe,
)
from vlmflow.probes.attention_map.measure import attention_map
from vlmflow.probes.occlusion.measure import places
from vlmflow.prompts.build import Prompt

from .attention.measure import attention
from .budget.measure import budget
from .context import Asking, Row
from .knockout.measure import knockout
from .lens.measure import answer_words, lens
from .norms.measure import norms
from .pruning.measure import pruning
from .similarity.measure import similarity
from .visual_lens.measure import visual_lens
from .words.measure import words

__all__ = ["OWN_WORDS", "measure", "measure_worded"]

# Probes that word their prompts themselves.
OWN_WORDS = (SimilarityProbe, VisualLensProbe, BudgetProbe)


def measure(
    asking: Asking, prompt: Prompt, probe: Probe, question: Row, leave_out: Callable[[str], None]
) -> pl.DataFrame:
    """The probe's rows for one question, without the columns that name the question.

    `question` is its row of the table `task`, with `token_ids` of what the model answered and, for `pruning`, `timed`;
    `leave_out` is told of what does not apply to it.
    """
    vlm = asking.vlm
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
            answer, said = correct_answer(question), question["token_ids"]
            return pruning(vlm, prompt, probe.last, answer, said, with_time=question["timed"], match=asking.match)
        case AttentionProbe():
            return attention(vlm, prompt, probe.edges)
        case AttentionMapProbe():
            return attention_map(vlm, prompt, question["image"], probe.targets, leave_out)
        case PlacesProbe():
            return places(asking, question, prompt, probe.grid)
    raise TypeError(f"{type(probe).__name__} words its prompts itself; see measure_worded")


def measure_worded(asking: Asking, probe: Probe, question: Row, leave_out: Callable[[str], None]) -> pl.DataFrame:
    """The rows of a probe of `OWN_WORDS` for one question; `leave_out` is told of what does not apply to it."""
    match probe:
        case SimilarityProbe():
            return similarity(asking, question, probe.prompts, probe.partners, leave_out)
        case VisualLensProbe():
            return visual_lens(
                asking,
                question,
                top=probe.top,
                instructions=probe.instructions,
                places=probe.places,
                keep_words=question["example"],
                leave_out=leave_out,
            )
        case BudgetProbe():
            return budget(
                asking, question, prompts=probe.prompts, keep=probe.keep, draws=probe.draws, leave_out=leave_out
            )
    raise TypeError(f"{type(probe).__name__} is asked in the question's own words; see measure")
