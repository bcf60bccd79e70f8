"""The effect of interventions on a model's answer: probabilities, ranks, margin and flips, from the states that are
read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
import torch
from torch import Tensor

from vlmflow.engine.interventions import Intervention
from vlmflow.engine.recording import Recording
from vlmflow.errors import InterventionError, NotApplicableError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.prompts.build import Prompt
from vlmflow.tables import PART_OF

from .context import ProbeContext
from .measures import FOLLOWED, Follow, effect_columns
from .question import Question

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class FollowedAnswer:
    """A prompt with the answer whose probability is measured.

    Attributes:
        prompt: with the answer's sub-words behind it that come before the last one that is measured.
        token_ids: the sub-words that are measured; their log-probabilities are added.
        positions: (P) those that predict them.
        options: first sub-words of the true and the false option; None if there are none that differ, or the first
            sub-word of an answer is not measured.
    """

    prompt: Prompt
    token_ids: list[int]
    positions: Tensor
    options: tuple[int, int] | None = None


def first_sub_word(prompt: Prompt, token_ids: Sequence[int], options: tuple[int, int] | None = None) -> FollowedAnswer:
    """The answer's first sub-word, after the prompt itself."""
    return FollowedAnswer(prompt, _not_empty(token_ids)[:1], torch.tensor([len(prompt) - 1]), options)


def own_first_sub_word(vlm: LanguageModel, prompt: Prompt, recording: Recording) -> FollowedAnswer:
    """The first sub-word that the model itself generates, and the options with which the prompt was built."""
    token = int(vlm.logits(recording.output[0, -1]).argmax())
    return first_sub_word(prompt, [token], option_tokens(vlm, prompt.options, [token]))


def last_sub_word(vlm: LanguageModel, prompt: Prompt, token_ids: Sequence[int]) -> FollowedAnswer:
    """The answer's last sub-word, given the earlier ones; [flow] appendix C."""
    longer = vlm.continue_prompt(prompt, _not_empty(token_ids)[:-1])
    return FollowedAnswer(longer, list(token_ids[-1:]), torch.tensor([len(longer) - 1]))


def all_sub_words(
    vlm: LanguageModel, prompt: Prompt, token_ids: Sequence[int], options: tuple[int, int] | None = None
) -> FollowedAnswer:
    """All sub-words of the answer, each given the earlier ones: its joint probability.  The prompt's segment `last` has
    all positions that predict them."""
    longer = vlm.continue_prompt(prompt, _not_empty(token_ids)[:-1])
    predicting = torch.arange(len(prompt) - 1, len(longer))
    template = {"template": prompt.segments["template"]} if "template" in prompt.segments else {}
    longer = replace(longer, segments=longer.segments | template | {"last": predicting})
    return FollowedAnswer(longer, list(token_ids), predicting, options)


def given_answer(vlm: LanguageModel, prompt: Prompt, text: str) -> FollowedAnswer:
    """All sub-words of any answer, as the model would write it, and the options with which the prompt was built."""
    own = vlm.answer(prompt).token_ids
    return all_sub_words(vlm, prompt, written_by(vlm, text, own), option_tokens(vlm, prompt.options, own))


def _not_empty(token_ids: Sequence[int]) -> list[int]:
    if not token_ids:
        raise InterventionError("the answer is empty, so it has no sub-word")
    return list(token_ids)


def followed_tokens(vlm: LanguageModel, question: Question, follow: Follow) -> list[int]:
    """The tokens of the answer that a probe follows: the model's own, or another one as the model would write it.

    Raises:
        NotApplicableError: the question has no such answer.
    """
    if follow == "own":
        return question.token_ids
    options = options_of(question)
    text = question.correct_answer if follow == "correct" else options[1] if options is not None else None
    if text is None:
        raise NotApplicableError(f"the question has no {'correct answer' if follow == 'correct' else follow}")
    return written_by(vlm, text, question.token_ids)


def options_measured(context: ProbeContext, question: Question) -> tuple[int, int] | None:
    """First sub-words of the true and the false option, as the model would write them; None if there are none.  Options
    that begin with the same sub-word are recorded as skipped."""
    options = options_of(question)
    found = option_tokens(context.vlm, options, question.token_ids)
    if options is not None and found is None:
        reason = f"both options, {options[0]!r} and {options[1]!r}, begin with the same sub-word, or with none"
        context.leave_out(question, PART_OF + "margin", reason)
    return found


def options_of(question: Question) -> tuple[str, str] | None:
    """(true, false) option of a question: those that it names, or yes and no; None if there are no two options."""
    if question.options is not None:
        return question.options
    if question.correct_answer in YES_NO:
        return YES_NO if question.correct_answer == "yes" else YES_NO[::-1]
    return None


def written_by(vlm: LanguageModel, text: str, own_answer: Sequence[int]) -> list[int]:
    """The tokens of a text as the model would write it as its answer.

    These are the model's own tokens if its answer is the same; else the text begins with a capital, or with space, if
    the model's answer does.

    Args:
        vlm: the model.
        text: such as an option.
        own_answer: token ids of the model's answer, or of its beginning.
    """
    tokenizer = vlm.processor.tokenizer
    own = tokenizer.decode(own_answer, skip_special_tokens=True)
    if own.strip().lower() == text.lower():
        return list(own_answer)
    written = text[:1].upper() + text[1:] if own.strip()[:1].isupper() else text
    return list(tokenizer(own[: len(own) - len(own.lstrip())] + written, add_special_tokens=False).input_ids)


def option_tokens(
    vlm: LanguageModel, options: tuple[str, str] | None, own_answer: Sequence[int]
) -> tuple[int, int] | None:
    """First sub-words of the true and the false option, as the model would write them; None without options, if both
    begin with the same one, or if one has none."""
    if options is None:
        return None
    # A text of space alone has no token.
    true, false = (next(iter(written_by(vlm, option, own_answer)), None) for option in options)
    return None if true is None or false is None or true == false else (true, false)


def effects(
    vlm: LanguageModel,
    recording: Recording,
    interventions: Sequence[Intervention | None],
    followed: FollowedAnswer,
    *,
    after: str = "p_after",
) -> pl.DataFrame:
    """A row for each intervention, with the columns of `measures.effect_columns`.

    Args:
        vlm: the model.
        recording: of the prompt of the followed answer.
        interventions: in the order of the rows; None for one that changes nothing.
        followed: what is measured.
        after: name of the column with the probability under the intervention.
    """
    intact = recording.output[:, followed.positions.to(recording.output.device)]
    states = intact.repeat(len(interventions), 1, 1)
    if made := {number: each for number, each in enumerate(interventions) if each is not None}:
        states[list(made)] = vlm.replay(recording, list(made.values()), followed.positions)
    return effects_of(vlm, recording, states, followed, after=after)


def effects_of(
    vlm: LanguageModel, recording: Recording, states: Tensor, followed: FollowedAnswer, *, after: str = "p_after"
) -> pl.DataFrame:
    """The same, from the states (interventions, P, width) after the last layer under each intervention."""
    intact = recording.output[:, followed.positions.to(recording.output.device)]
    rows = len(states)
    base, found = _Read.of(vlm, intact, followed), _Read.of(vlm, states, followed)
    columns: dict[str, Sequence] = {"p_base": base.p(0) * rows, after: found.p(0)}
    for number, word in enumerate(FOLLOWED):
        columns[f"log_prob_{word}_base"] = base.log_prob(number) * rows
        columns[f"log_prob_{word}"] = found.log_prob(number)
        columns[f"rank_{word}_base"] = base.rank(number) * rows
        columns[f"rank_{word}"] = found.rank(number)
    flips = found.predicted != base.predicted  # (interventions, P)
    # The first position that predicts another token, or the first of all.
    first = flips.to(torch.int8).argmax(dim=1, keepdim=True)
    tokens = found.predicted.gather(1, first)[:, 0].tolist()
    columns |= {
        "flips": [100.0 * flip for flip in flips.any(dim=1).tolist()],
        "token": [vlm.processor.tokenizer.decode([token]).strip() for token in tokens],
        "p_true": found.p(1),
        "p_false": found.p(2),
    }
    return _with_differences(pl.DataFrame(columns), after)


def _with_differences(rows: pl.DataFrame, after: str) -> pl.DataFrame:
    """The rows with change, margin and log_prob, in the order of `effect_columns`."""
    margin, margin_base = (pl.col(f"log_prob_true{end}") - pl.col(f"log_prob_false{end}") for end in ("", "_base"))
    return rows.with_columns(
        change=(pl.col(after) - pl.col("p_base")) / pl.col("p_base") * 100,
        margin=margin - margin_base,
        log_prob=pl.col("log_prob_answer") - pl.col("log_prob_answer_base"),
    ).select(pl.col(name).cast(column.dtype) for name, column in effect_columns(after).items())


@dataclass(frozen=True)
class _Read:
    """What is read from the states of some forwards.

    Attributes:
        log_probs, ranks: (forwards, 3) of the answer, the true and the false option; NaN and 0 where there is none.
        predicted: (forwards, P) the most probable token at each position.
    """

    log_probs: Tensor
    ranks: Tensor
    predicted: Tensor

    @classmethod
    def of(cls, vlm: LanguageModel, states: Tensor, followed: FollowedAnswer) -> "_Read":
        """Read states (forwards, P, width) after the last layer."""
        tokens = sorted({*followed.token_ids, *(followed.options or ())})
        read = vlm.read(states.flatten(0, 1), partial(_read_tokens, tokens)).unflatten(0, states.shape[:2])
        where = [tokens.index(token) for token in followed.token_ids]
        option = [tokens.index(token) for token in followed.options or followed.token_ids[:1] * 2]
        # (forwards, P, 3): at each position its own sub-word of the answer, and both options.
        wanted = torch.tensor([[own, *option] for own in where]).expand(len(states), -1, -1)
        log_probs = read[..., : len(tokens)].gather(2, wanted)
        ranks = read[..., len(tokens) : -1].gather(2, wanted)
        # Options are read where the first sub-word is predicted; log-probabilities of the answer's sub-words add up.
        log_probs = torch.cat([log_probs[..., :1].sum(dim=1), log_probs[:, 0, 1:]], dim=1)
        ranks = torch.cat([ranks[:, :, 0].amax(dim=1, keepdim=True), ranks[:, 0, 1:]], dim=1)
        if followed.options is None:
            log_probs[:, 1:], ranks[:, 1:] = torch.nan, 0
        return cls(log_probs, ranks.long(), read[..., -1].long())

    def log_prob(self, number: int) -> list[float | None]:
        """Log-probabilities of the answer (0), the true (1) or the false (2) option."""
        return [None if value != value else value for value in self.log_probs[:, number].tolist()]

    def p(self, number: int) -> list[float | None]:
        """The probabilities."""
        return [None if value != value else value for value in self.log_probs[:, number].exp().tolist()]

    def rank(self, number: int) -> list[int | None]:
        """Ranks, from 1; the largest of those of the answer's sub-words."""
        return [value or None for value in self.ranks[:, number].tolist()]


def _read_tokens(tokens: Sequence[int], logits: Tensor) -> Tensor:
    """(states, 2 T + 1): log-probabilities of T tokens, their ranks from 1, and the most probable token."""
    log_probs = logits.log_softmax(-1)[:, tokens]
    ranks = [(logits > logits[:, token : token + 1]).sum(-1) + 1 for token in tokens]
    return torch.cat([log_probs, torch.stack([*ranks, logits.argmax(-1)], dim=1).to(log_probs)], dim=1).double()
