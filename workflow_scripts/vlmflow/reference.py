"""The loss of a reference answer: mean over its tokens of −log p of each, the earlier ones given, in nats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .interventions import Knockout, removed_after
from .prompts import Prompt
from .pruning import pruned
from .recording import last_logits, states_of

if TYPE_CHECKING:
    from .models import LanguageModel


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


def reference(vlm: "LanguageModel", prompt: Prompt, text: str, said: Sequence[int]) -> Reference:
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
    return Reference(prompt.said(tokens[:-1]), tokens)


def loss(vlm: "LanguageModel", asked: Reference, states: Tensor) -> float:
    """Of the states (answer tokens, width) after the last layer, not normed, that predict the answer's tokens."""
    log = vlm.read(states, lambda logits: logits.log_softmax(-1))
    return -log[torch.arange(len(log)), torch.tensor(asked.token_ids)].double().mean().item()


@torch.inference_mode()
def loss_without(vlm: "LanguageModel", asked: Reference, dropped: Tensor) -> float:
    """The loss when the model never sees the positions `dropped`; the others keep their places.  The forward is as much
    shorter."""
    last: list[Tensor] = []

    def keep(_layer: Any, _arguments: tuple, output: Tensor | tuple) -> None:
        last.append(states_of(output)[0, -len(asked.token_ids) :])

    # Outer hooks see what inner ones have left of the positions: the answer's are always the last.
    with pruned(vlm.layers, dropped, len(vlm.layers)), removed_after([vlm.layers[-1].register_forward_hook(keep)]):
        vlm.model(**asked.prompt.inputs, use_cache=False, **last_logits(vlm.model))
    return loss(vlm, asked, last[0])


def losses_without(vlm: "LanguageModel", asked: Reference, blocked: Sequence[Tensor]) -> tuple[float, list[float]]:
    """(the intact model's loss, the loss for each set of positions when no later position may attend to them), by
    replaying one recording; the same as `loss_without`, and cheaper where the sets stand late or are many."""
    recording = vlm.record(asked.prompt)
    everything = torch.arange(len(asked.prompt))
    knockouts = []
    for positions in blocked:
        later = everything[int(positions.min()) + 1 :]
        knockouts.append(Knockout(positions, later[~torch.isin(later, positions)], 0, len(vlm.layers)))
    read = asked.positions
    intact = loss(vlm, asked, recording.output[0, read.to(recording.output.device)])
    if not knockouts:
        return intact, []
    return intact, [loss(vlm, asked, states) for states in vlm.replay(recording, knockouts, read)]
