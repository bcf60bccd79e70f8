"""The loss of a reference answer: mean over its tokens of −log p of each, the earlier ones given, in nats."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmflow.engine.left_out import attention_to
from vlmflow.engine.record import Recording
from vlmflow.models.model import LanguageModel
from vlmflow.prompts.build import Prompt


@dataclass(frozen=True)
class Reference:
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


def reference(vlm: LanguageModel, prompt: Prompt, text: str, said: Sequence[int]) -> Reference:
    """A prompt and the tokens of its reference answer.

    The answer is written as the model would write it: in its own tokens where it says just that, with a capital where
    what it says begins with one.

    Args:
        vlm: the model.
        prompt: of this model.
        text: the reference.
        said: token ids of what the model says by itself.
    """
    own = vlm.processor.tokenizer.decode(said, skip_special_tokens=True).strip()
    if own.lower() == text.lower():
        tokens = list(said)
    else:
        written = text[:1].upper() + text[1:] if own[:1].isupper() else text
        tokens = list(vlm.processor.tokenizer(written, add_special_tokens=False).input_ids)
    return Reference(vlm.continue_prompt(prompt, tokens[:-1]), tokens)


def loss(vlm: LanguageModel, asked: Reference, states: Tensor) -> float:
    """Of the states (answer tokens, width) after the last layer, not normed, that predict the answer's tokens."""
    log = vlm.read(states, lambda logits: logits.log_softmax(-1))
    return -log[torch.arange(len(log)), torch.tensor(asked.token_ids)].double().mean().item()


def loss_without(vlm: LanguageModel, asked: Reference, recording: Recording, dropped: Tensor) -> float:
    """The loss when the model never sees the positions `dropped`; the others keep their places, and the forward is as
    much shorter.

    Args:
        vlm: the model.
        asked: its prompt and answer.
        recording: of that prompt.
        dropped: positions.
    """
    return loss(vlm, asked, vlm.replay_without(recording, dropped, asked.positions))


def losses_without(vlm: LanguageModel, asked: Reference, recording: Recording, hidden: Sequence[Tensor]) -> list[float]:
    """The loss for each set of positions when no other position may attend to them; the same as `loss_without`, and
    cheaper where the sets stand late or are many."""
    knockouts = [attention_to(recording, positions, 0, len(vlm.layers)) for positions in hidden]
    return [loss(vlm, asked, states) for states in vlm.replay(recording, knockouts, asked.positions)]


def intact_loss(vlm: LanguageModel, asked: Reference, recording: Recording) -> float:
    """The loss of the model as it is."""
    read = asked.positions.to(recording.output.device)
    return loss(vlm, asked, recording.output[0, read])
