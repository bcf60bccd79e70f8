"""The loss of a reference answer: the mean of −log p over its tokens, each with the earlier ones given, in nats."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmflow.engine.left_out import attention_to
from vlmflow.engine.record import Recording
from vlmflow.models.model import LanguageModel
from vlmflow.prompts.build import Prompt


@dataclass(frozen=True)
class ReferenceAnswer:
    """A prompt with a reference answer behind it.

    Attributes:
        prompt: up to the answer's last but one token.
        token_ids: of the answer.
    """

    prompt: Prompt
    token_ids: list[int]

    @property
    def positions(self) -> Tensor:
        """Where the answer's tokens are predicted."""
        length = len(self.prompt)
        return torch.arange(length - len(self.token_ids), length)


def reference_answer(vlm: LanguageModel, prompt: Prompt, text: str, own_answer: Sequence[int]) -> ReferenceAnswer:
    """A prompt and the tokens of its reference answer.

    The answer is written as the model would write it: in the model's own tokens where its answer is the same, with a
    capital where its answer begins with one.

    Args:
        vlm: the model.
        prompt: of this model.
        text: the reference.
        own_answer: token ids of the model's answer.
    """
    own = vlm.processor.tokenizer.decode(own_answer, skip_special_tokens=True).strip()
    if own.lower() == text.lower():
        tokens = list(own_answer)
    else:
        written = text[:1].upper() + text[1:] if own[:1].isupper() else text
        tokens = list(vlm.processor.tokenizer(written, add_special_tokens=False).input_ids)
    return ReferenceAnswer(vlm.continue_prompt(prompt, tokens[:-1]), tokens)


def loss(vlm: LanguageModel, asked: ReferenceAnswer, states: Tensor) -> float:
    """The loss, from the states after the last layer that predict the answer's tokens.

    Args:
        vlm: the model.
        asked: prompt and answer.
        states: (answer tokens, width), not normed.
    """
    log = vlm.read(states, lambda logits: logits.log_softmax(-1))
    return -log[torch.arange(len(log)), torch.tensor(asked.token_ids)].double().mean().item()


def loss_without(vlm: LanguageModel, asked: ReferenceAnswer, recording: Recording, dropped: Tensor) -> float:
    """The loss of a forward without the positions `dropped`; the others keep their position ids.

    Args:
        vlm: the model.
        asked: its prompt and answer.
        recording: of that prompt.
        dropped: positions.
    """
    return loss(vlm, asked, vlm.replay_without(recording, dropped, asked.positions))


def losses_without(
    vlm: LanguageModel, asked: ReferenceAnswer, recording: Recording, dropped: Sequence[Tensor]
) -> list[float]:
    """The loss for each set of positions that no other position may attend to: the same as `loss_without`, and cheaper
    where there are many sets, or where they stand late in the prompt."""
    knockouts = [attention_to(recording, positions, 0, len(vlm.layers)) for positions in dropped]
    return [loss(vlm, asked, states) for states in vlm.replay(recording, knockouts, asked.positions)]


def intact_loss(vlm: LanguageModel, asked: ReferenceAnswer, recording: Recording) -> float:
    """The loss of the intact model."""
    read = asked.positions.to(recording.output.device)
    return loss(vlm, asked, recording.output[0, read])
