"""The loss of a reference answer, in nats: the mean of −log p over its tokens, each given the earlier tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmflow.engine.recording import Recording
from vlmflow.engine.token_removal import attention_to
from vlmflow.models.vision_language import LanguageModel
from vlmflow.prompts.build import Prompt

from .effects import written_by


@dataclass(frozen=True)
class ReferenceAnswer:
    """A prompt that is continued with a reference answer.

    Attributes:
        prompt: the prompt and the answer's tokens without the last one.
        token_ids: token ids of the answer.
    """

    prompt: Prompt
    token_ids: list[int]

    @property
    def positions(self) -> Tensor:
        """The positions that predict the answer's tokens."""
        length = len(self.prompt)
        return torch.arange(length - len(self.token_ids), length)


def reference_answer(vlm: LanguageModel, prompt: Prompt, text: str, own_answer: Sequence[int]) -> ReferenceAnswer:
    """A prompt and the tokens of its reference answer.

    The answer is written as the model would write it; see `written_by`.

    Args:
        vlm: the model.
        prompt: of this model.
        text: the reference answer.
        own_answer: token ids of the model's answer.
    """
    tokens = written_by(vlm, text, own_answer)
    return ReferenceAnswer(vlm.continue_prompt(prompt, tokens[:-1]), tokens)


def loss(vlm: LanguageModel, reference: ReferenceAnswer, states: Tensor) -> float:
    """The loss of a reference answer from the states that predict its tokens.

    Args:
        vlm: the model.
        reference: prompt and answer.
        states: (answer tokens, width) after the last layer, before the final norm.
    """
    log = vlm.read(states, lambda logits: logits.log_softmax(-1))
    return -log[torch.arange(len(log)), torch.tensor(reference.token_ids)].double().mean().item()


def loss_without(vlm: LanguageModel, reference: ReferenceAnswer, recording: Recording, dropped: Tensor) -> float:
    """The loss of a forward without the positions `dropped`; the other positions keep their position ids.

    Args:
        vlm: the model.
        reference: its prompt and answer.
        recording: of that prompt.
        dropped: positions.
    """
    return loss(vlm, reference, vlm.replay_without(recording, dropped, reference.positions))


def losses_without(
    vlm: LanguageModel, reference: ReferenceAnswer, recording: Recording, dropped: Sequence[Tensor]
) -> list[float]:
    """The loss for each set of positions if no other position may attend to it: the same result as `loss_without`, and
    cheaper if there are many sets or if they are late in the prompt."""
    if recording.recurrent:  # layers without attention would carry the tokens on
        return [loss_without(vlm, reference, recording, positions) for positions in dropped]
    knockouts = [attention_to(recording, positions, 0, len(vlm.layers)) for positions in dropped]
    return [loss(vlm, reference, states) for states in vlm.replay(recording, knockouts, reference.positions)]


def intact_loss(vlm: LanguageModel, reference: ReferenceAnswer, recording: Recording) -> float:
    """The loss of the intact model."""
    read = reference.positions.to(recording.output.device)
    return loss(vlm, reference, recording.output[0, read])
