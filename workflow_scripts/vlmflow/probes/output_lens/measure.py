"""Alignment of the states to the unembedding: the next token that each state predicts at the positions of segments."""

import math
from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from vlmflow.errors import NotApplicableError, PromptError, QuestionError, RetryableQuestionError
from vlmflow.models.vision_language import LanguageModel
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.output_lens import OutputLensProbe
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Prompt


def measure(probe: OutputLensProbe, context: ProbeContext, question: Question) -> pl.DataFrame:
    """Rows of the table `output lens` for one question; see `Probe.measure`."""
    return output_lens(context, question, probe.prompts, probe.segments)


def output_lens(
    context: ProbeContext, question: Question, prompts: Mapping[str, str], segments: Sequence[str]
) -> pl.DataFrame:
    """Entropy and agreement of the predicted next tokens after every layer, for each prompt about the image.

    Args:
        context: model and questions.
        question: the measured question; prompts that do not apply to it are skipped.
        prompts: name → text, see `ProbeContext.custom_prompt`.
        segments: names; a segment that a prompt does not have is skipped.

    Returns:
        columns prompt, segment, layer (−1 for the embedding), entropy (bits, mean over the segment's positions),
        agreement (percent of them with the same most probable token as after the last layer).

    Raises:
        NotApplicableError: no prompt applies to the question.
    """
    parts = []
    for name, text in prompts.items():
        try:
            prompt = context.custom_prompt(question, text)
            present = _present(context, question, name, prompt, segments)
            rows = predictions(context.vlm, prompt, present)
        except RetryableQuestionError:
            raise  # too little memory is no property of the prompt
        except QuestionError as error:
            context.leave_out(question, f"prompt {name}", str(error))
            continue
        parts.append(rows.with_columns(prompt=pl.lit(name)))
    if not parts:
        raise NotApplicableError("no prompt of the probe applies to this question")
    return pl.concat(parts)


def _present(
    context: ProbeContext, question: Question, name: str, prompt: Prompt, segments: Sequence[str]
) -> list[str]:
    """The segments that the prompt has; the others are recorded as skipped.

    Raises:
        PromptError: it has none of them.
    """
    present = [segment for segment in segments if segment in prompt.segments]
    if not present:
        raise PromptError(f"it has none of the segments {', '.join(segments)}")
    for segment in segments:
        if segment not in present:
            why = prompt.missing.get(segment, "it does not hold this text")
            context.leave_out(question, segment, f"the prompt {name} has no such segment: {why}")
    return present


def predictions(vlm: LanguageModel, prompt: Prompt, segments: Sequence[str]) -> pl.DataFrame:
    """A row per segment and layer, with the columns segment, layer, entropy and agreement of `output_lens`.

    Raises:
        InterventionError: a logit is not a finite number.
    """
    recording = vlm.record(prompt)
    positions = [prompt.positions(segment) for segment in segments]
    # All segments are read together, since an unembedding in half precision is cast anew for each product.
    everywhere, device = torch.cat(positions), recording.output.device
    read = torch.stack([
        vlm.read(states[0, everywhere.to(states.device)].to(device), _entropy_and_token, in_float32=True)
        for states in recording.states()
    ])  # fmt: skip
    entropy, token = read.unbind(-1)
    agreement = 100 * (token == token[-1]).double()
    lengths = [len(each) for each in positions]
    return pl.concat(
        pl.DataFrame(
            {
                "segment": segment,
                "layer": range(-1, len(read) - 1),
                "entropy": bits.mean(dim=1).tolist(),
                "agreement": percent.mean(dim=1).tolist(),
            },
            schema_overrides={"layer": pl.Int32},
        )
        for segment, bits, percent in zip(
            segments, entropy.split(lengths, dim=1), agreement.split(lengths, dim=1), strict=True
        )
    )


def _entropy_and_token(logits: Tensor) -> Tensor:
    """(states, 2) the entropy in bits, and the id of the most probable token, of logits (states, vocabulary)."""
    log = logits.log_softmax(-1)
    entropy = -(log.exp() * log).sum(-1) / math.log(2)
    # Ids are exact in float64.
    return torch.stack([entropy.double(), logits.argmax(-1).double()], dim=-1)
