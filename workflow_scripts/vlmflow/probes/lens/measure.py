"""Logit lens: the words that the last position predicts after each layer; [flow] equation 8."""

from collections.abc import Mapping

import polars as pl
import torch

from vlmflow.errors import InterventionError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.lens import WORDS, LensProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt


def measure(probe: LensProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `lens` for one question; see `Probe.measure`."""
    false_option = question.options[1] if question.options else None
    return lens(context.vlm, context.prompt(question), answer_words(question.answer, false_option), probe.final_norm)


def lens(vlm: LanguageModel, prompt: Prompt, words: Mapping[str, str], final_norm: bool = True) -> pl.DataFrame:
    """The words' probabilities after every layer; see `vlmflow.notebook`."""
    states = vlm.record(prompt).hidden(-1)
    # The last layer's state always goes through the final norm, as in the model itself.
    logits = torch.cat([vlm.logits(states[:-1], final_norm, in_float32=True), vlm.logits(states[-1:], in_float32=True)])
    probabilities = logits.softmax(-1)
    if not probabilities.isfinite().all():
        raise InterventionError("a probability read from an inner state is not a finite number; another dtype may help")
    tokens = {name: first_token(vlm, word) for name, word in words.items()}
    return pl.concat(
        pl.DataFrame(
            {"layer": range(-1, len(states) - 1), "word": name, "probability": probabilities[:, token].tolist()},
            schema_overrides={"layer": pl.Int32},
        )
        for name, token in tokens.items()
    )


def first_token(vlm: LanguageModel, word: str) -> int:
    """The first token of the word as the model would write it."""
    return int(vlm.processor.tokenizer(word, add_special_tokens=False).input_ids[0])


def answer_words(answer: str, false_option: str | None) -> dict[str, str]:
    """Name → word whose probability is measured, in both spellings; [flow] section 7."""
    options = [answer] if false_option is None else [answer, false_option]
    spelt = [word for option in options for word in (option.capitalize(), option.lower())]
    return dict(zip(WORDS, spelt, strict=False))
