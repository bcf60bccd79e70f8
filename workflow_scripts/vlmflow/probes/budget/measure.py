"""How many of the image's tokens a model needs, and which; [thesis]."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from vlmflow.errors import InterventionError, NotApplicableError, PromptError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.answer_loss import ReferenceAnswer, intact_loss, loss_without, reference_answer
from vlmflow.probes.budget import ALL_TOKENS, BudgetProbe, numbers_kept
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.question import Question


def measure(probe: BudgetProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `budget` for one question; see `Probe.measure`."""
    return budget(context, question, prompts=probe.prompts, keep=probe.keep, draws=probe.draws)


def budget(
    context: ProbeContext, question: Question, *, prompts: Mapping[str, str], keep: Sequence[str], draws: int
) -> pl.DataFrame:
    """Loss of the reference answer with 0, 1, 2, 4, … all of the image's tokens.

    Args:
        context: model and questions.
        question: the measured question; prompts that do not apply to it are skipped.
        prompts: name → text, see `ProbeContext.custom_prompt`.
        keep: which tokens are kept: first, spread, random.
        draws: number of random choices of tokens, over which the loss is averaged; the same for every prompt and run.

    Returns:
        columns prompt, keep, number (of tokens to keep; −1: all), kept (number of tokens that are kept), loss (nats per
        token).

    Raises:
        NotApplicableError: no prompt applies to the question.
    """
    vlm = context.vlm
    rows: list[dict] = []
    for name, text in prompts.items():
        try:
            reference = reference_answer(
                vlm, context.custom_prompt(question, text), question.answer, question.token_ids
            )
            losses = list(_losses(vlm, reference, keep, draws, question.id))
        except (PromptError, InterventionError) as error:
            context.leave_out(question, f"prompt {name}", str(error))
            continue
        rows += [{"prompt": name} | each for each in losses]
    if not rows:
        raise NotApplicableError("no prompt of the probe applies to this question")
    return pl.DataFrame(
        rows, schema_overrides={"tokens_requested": pl.Int32, "tokens_kept": pl.Int32}, infer_schema_length=None
    )


def _losses(
    vlm: LanguageModel, reference: ReferenceAnswer, keep: Sequence[str], draws: int, seed: str
) -> Iterator[dict]:
    """A row per way to keep tokens and number of tokens, for one prompt."""
    recording = vlm.record(reference.prompt)
    image = reference.prompt.positions("image")
    intact = intact_loss(vlm, reference, recording)
    none = loss_without(vlm, reference, recording, image)
    for way in keep:
        yield {"keep": way, "tokens_requested": 0, "tokens_kept": 0, "loss": none}
        for number in numbers_kept(len(image)):
            losses = [
                loss_without(vlm, reference, recording, _without(image, some))
                for some in chosen(way, number, len(image), draws, seed)
            ]
            yield {"keep": way, "tokens_requested": number, "tokens_kept": number, "loss": float(np.mean(losses))}
        yield {"keep": way, "tokens_requested": ALL_TOKENS, "tokens_kept": len(image), "loss": intact}


def _without(image: Tensor, kept: Sequence[int]) -> Tensor:
    """The positions of an image except those of the kept tokens."""
    dropped = torch.ones(len(image), dtype=torch.bool)
    dropped[list(kept)] = False
    return image[dropped]


def chosen(way: str, number: int, tokens: int, draws: int, seed: str) -> list[list[int]]:
    """The numbers of the image tokens that are kept, from 0; several choices if they are random."""
    if way == "first":
        return [list(range(number))]
    if way == "spread":
        # The middles of `number` equal parts.
        return [[int((part + 0.5) * tokens / number) for part in range(number)]]
    rng = np.random.default_rng([*seed.encode(), number])
    return [sorted(rng.choice(tokens, size=number, replace=False).tolist()) for _ in range(draws)]
