"""Contextualisation: the similarity of the states of image and text, between and within them; [phase], [thesis].

The mean cosine over all pairs of n and m unit vectors is (Σu · Σv) / nm, so that it takes O((n + m) · width) and no
single pair is computed.  All states share a direction, whatever their meaning (anisotropy); therefore the same mean
over tokens of unrelated questions is subtracted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmflow.engine.recording import Recording
from vlmflow.errors import InterventionError, NotApplicableError, QuestionError, RetryableQuestionError
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question
from vlmflow.probes.similarity import PAIRS, SimilarityProbe
from vlmflow.prompts.build import Prompt


def measure(probe: SimilarityProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `similarity` for one question; see `Probe.measure`."""
    return similarity(context, question, probe.prompts, probe.partners)


@dataclass(frozen=True)
class Directions:
    """The directions of a prompt's states after every layer, the embedding first, on the CPU.

    Attributes:
        image: (layers + 1, width) sum of the unit vectors of the image's tokens.
        image_tokens: their number.
        text: (layers + 1, tokens, width) unit vectors of the text's tokens.
        text_ids: (tokens) their token ids.
    """

    image: Tensor
    image_tokens: int
    text: Tensor
    text_ids: Tensor

    @classmethod
    def of(cls, recording: Recording, prompt: Prompt) -> "Directions":
        """The directions of a recorded prompt's segments image and question.

        Raises:
            InterventionError: one of the two has a single token, or a state is not finite.
        """
        image, text = prompt.positions("image"), prompt.positions("question")
        for name, positions in (("image", image), ("text", text)):
            if len(positions) < 2:
                raise InterventionError(f"the {name} is a single token, which has no similarity to others of its kind")
        sums, words = [], []
        for states in recording.states():
            of_image, of_text = (
                normalize(_wide(states[0, where.to(states.device)]), dim=-1) for where in (image, text)
            )
            sums.append(of_image.sum(dim=0).cpu())
            words.append(of_text.cpu())
        directions = cls(torch.stack(sums), len(image), torch.stack(words), prompt.inputs["input_ids"][0, text].cpu())
        if len(set(directions.text_ids.tolist())) < 2:
            raise InterventionError("the text is one word, which has no similarity to others")
        if not (directions.image.isfinite().all() and directions.text.isfinite().all()):
            raise InterventionError("states are not finite numbers; another dtype may help")
        return directions

    def within(self) -> Tensor:
        """(3, layers + 1) mean cosine over all pairs of different positions of this prompt, in the order of `PAIRS`.

        Within text, only pairs of different words count, as in `across`; it is NaN if there are none.
        """
        words, text = self.text.sum(dim=1), len(self.text_ids)
        same, number = self._same_words(self)  # including each position with itself
        return torch.stack([
            _dot(self.image, words) / (self.image_tokens * text),
            _of_different(self.image, self.image_tokens),
            (_dot(words, words) - same) / (text * text - number),
        ])  # fmt: skip

    def across(self, other: "Directions") -> Tensor:
        """(3, layers + 1) mean cosine over pairs of a token of this prompt and one of another prompt.

        Within text, only pairs of different words count: a word that both prompts have is very similar to itself, which
        is no sign of a common direction.  It is NaN if there are no different words.
        """
        here, there = self.text.sum(dim=1), other.text.sum(dim=1)
        pairs = len(self.text_ids) * len(other.text_ids)
        between = _dot(self.image, there) / (self.image_tokens * len(other.text_ids))
        back = _dot(other.image, here) / (other.image_tokens * len(self.text_ids))
        same, number = self._same_words(other)
        return torch.stack([
            (between + back) / 2,
            _dot(self.image, other.image) / (self.image_tokens * other.image_tokens),
            (_dot(here, there) - same) / (pairs - number),
        ])  # fmt: skip

    def _same_words(self, other: "Directions") -> tuple[Tensor, int]:
        """(sum of the cosines, number) of the pairs of the same word."""
        total, number = torch.zeros(len(self.text), dtype=torch.float64), 0
        for word in set(self.text_ids.tolist()) & set(other.text_ids.tolist()):
            mine, theirs = self.text_ids == word, other.text_ids == word
            total += _dot(self.text[:, mine].sum(dim=1), other.text[:, theirs].sum(dim=1))
            number += int(mine.sum()) * int(theirs.sum())
        return total, number


def _wide(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """(layers, width) twice → (layers)."""
    return (one.double() * other.double()).sum(dim=-1)


def _of_different(total: Tensor, count: int) -> Tensor:
    """The mean cosine over pairs of different vectors, from the sum of `count` unit vectors; each vector's cosine with
    itself is 1."""
    return (_dot(total, total) - count) / (count * (count - 1))


def similarity(context: ProbeContext, question: Question, prompts: Mapping[str, str], partners: int) -> pl.DataFrame:
    """Mean cosine similarity at every layer, for each prompt about the question's image.

    Args:
        context: model and questions.
        question: the measured question; prompts that do not apply to it are skipped.
        prompts: name → text, see `ProbeContext.custom_prompt`.
        partners: number of unrelated questions, with the same prompt, that are compared with it.

    Returns:
        columns prompt, pair (one of `PAIRS`), layer (−1 for the embedding), raw, unrelated (the same of tokens of
        unrelated questions), corrected (raw − unrelated).

    Raises:
        NotApplicableError: no prompt applies to the question.
    """
    parts = []
    for name, text in prompts.items():
        try:
            mine = directions_of(context, question, text)
            others = _unrelated(context, question, text, partners, mine)
        except RetryableQuestionError:
            raise  # too little memory is no property of the prompt
        except QuestionError as error:
            context.leave_out(question, f"prompt {name}", str(error))
            continue
        raw = mine.within()
        parts += [
            pl.DataFrame({"layer": range(-1, raw.shape[1] - 1), "raw": raw[index], "unrelated": others[index]})
            .with_columns(prompt=pl.lit(name), pair=pl.lit(pair), corrected=pl.col("raw") - pl.col("unrelated"))
            .with_columns(pl.col("layer").cast(pl.Int32))
            for index, pair in enumerate(PAIRS)
        ]
    if not parts:
        raise NotApplicableError("no prompt of the probe applies to this question")
    return pl.concat(parts)


def directions_of(context: ProbeContext, question: Question, text: str) -> Directions:
    """The directions of a question with this prompt; they are cached, since neighbouring questions need them too."""
    key = (question.id, text)
    if key not in context.cache:
        prompt = context.custom_prompt(question, text)
        context.keep(key, Directions.of(context.vlm.record(prompt), prompt))
    return context.cache[key]


def _unrelated(context: ProbeContext, question: Question, text: str, partners: int, mine: Directions) -> Tensor:
    """(3, layers + 1) the mean over `partners` unrelated questions to which this prompt applies."""
    results: list[Tensor] = []
    for other in context.unrelated(question):
        try:
            across = mine.across(directions_of(context, other, text))
        except RetryableQuestionError:
            raise
        except QuestionError:
            continue  # it is recorded as skipped when it is measured itself
        if across.isfinite().all():
            results.append(across)
        if len(results) == partners:
            break
    if not results:
        raise NotApplicableError("there is no question on another image, with other words, to compare it with")
    return torch.stack(results).mean(dim=0)
