"""Answers, work and time without the image's tokens in the last layers; [flow] appendix F."""

from collections.abc import Sequence
from functools import partial

import polars as pl
import torch
from transformers import DynamicCache

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.data.answers import is_correct
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.timing import timed
from vlmflow.engine.token_removal import attending_positions, truncated, work_share
from vlmflow.models.greedy_decoding import MAX_NEW_TOKENS
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.pruning import PruningProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt

REPEATS = 3


def measure(probe: PruningProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `pruning` for one question; see `Probe.measure`."""
    return pruning(
        context.vlm,
        context.prompt(question),
        probe.layers_dropped,
        question.correct_answer,
        question.token_ids,
        with_time=question.in_detail,
        match=context.match,
    )


def pruning(
    vlm: LanguageModel,
    prompt: Prompt,
    last: Sequence[int],
    answer: str | None,
    intact: Sequence[int],
    with_time: bool,
    match: AnswersMatch = "strict",
) -> pl.DataFrame:
    """The model's answers without the image's tokens in the last layers, with their work and time.

    Args:
        vlm: the model.
        prompt: of this model, with an image.
        last: numbers of last layers in which the tokens are dropped.
        answer: the correct answer; None if no single answer is correct.
        intact: token ids of the intact model's answer.
        with_time: whether decoding is timed, with and without the tokens, in turns.
        match: when an answer counts as correct.

    Returns:
        columns layers_dropped, predicted, correct (null if no single answer is correct), work_share, image_tokens,
        question_tokens, time_share (shares of the intact model's; time is null if it is not measured).
    """
    answers = answers_without_image(vlm, prompt, last, intact)
    texts = [vlm.processor.tokenizer.decode(answers[number], skip_special_tokens=True).strip() for number in last]
    image, layers = prompt.positions("image"), len(vlm.layers)
    return pl.DataFrame(
        {
            "layers_dropped": list(last),
            "predicted": texts,
            "correct": [is_correct(text, answer, match) for text in texts],
            "work_share": [work_share(len(prompt), len(image), layers, number) for number in last],
            "image_tokens": len(image),
            "question_tokens": len(prompt.positions("question")),
            "time_share": _times(vlm, prompt, last, len(intact) + 1) if with_time else [None] * len(last),
        },
        schema_overrides=dict.fromkeys(("layers_dropped", "image_tokens", "question_tokens"), pl.Int32)
        | {"correct": pl.Boolean, "time_share": pl.Float64},
    )


def answers_without_image(
    vlm: LanguageModel, prompt: Prompt, last: Sequence[int], intact: Sequence[int] = ()
) -> dict[int, list[int]]:
    """Number of last layers → token ids of the greedy answer, computed by replay.

    To drop tokens in the last layers is the same as to forbid every other position to attend to them there: the states
    of these tokens then reach no other position.  The intact model's answer is proposed for all numbers; from the first
    token that differs, an answer is continued by one token per round.  A decided token is never changed: in half
    precision, each forward may break a tie differently, and an answer that can be revised might never end.
    """
    image, layers = prompt.positions("image"), len(vlm.layers)
    proposals = dict.fromkeys(last, tuple(intact))
    done: dict[int, list[int]] = {}
    decided = False
    while proposals:
        further: dict[int, tuple[int, ...]] = {}
        for proposal in dict.fromkeys(proposals.values()):
            longer = vlm.continue_prompt(prompt, proposal)
            recording = vlm.record(longer)
            read = torch.arange(len(prompt) - 1, len(longer))
            numbers = [number for number in last if proposals.get(number) == proposal]
            knockouts = [
                AttentionKnockout(image, attending_positions(recording, image), layers - number, layers)
                for number in numbers
                if number
            ]
            as_recorded = recording.output[:, read.to(recording.output.device)]
            after = iter(vlm.replay(recording, knockouts, read))
            for number in numbers:
                states = next(after) if number else as_recorded[0]
                tokens = vlm.read(states, lambda logits: logits.argmax(-1)).tolist()
                differing = [] if decided else [i for i, token in enumerate(proposal) if tokens[i] != token]
                agreed = min(differing, default=len(proposal))
                kept = (*proposal[:agreed], tokens[agreed])[:MAX_NEW_TOKENS]
                if kept[-1] in vlm.ends or len(kept) >= MAX_NEW_TOKENS:
                    done[number] = [token for token in kept if token not in vlm.ends]
                else:
                    further[number] = kept
        proposals, decided = further, True
    return done


def _times(vlm: LanguageModel, prompt: Prompt, last: Sequence[int], new_tokens: int) -> list[float | None]:
    """The seconds for reading the prompt and decoding `new_tokens` tokens, divided by those of the intact model in the
    same run; None if all layers would lose the image's tokens."""
    numbers = [0, *(number for number in last if 0 < number < len(vlm.layers))]

    def run(number: int) -> None:
        with truncated(vlm.layers, prompt.positions("image"), number):
            vlm.generate(prompt, new_tokens, ends=[], cache=DynamicCache())

    run(0)
    seconds = timed([partial(run, number) for number in numbers], REPEATS, vlm.device)
    shares = {number: each / seconds[0] for number, each in zip(numbers, seconds, strict=True)}
    return [shares.get(number) for number in last]
