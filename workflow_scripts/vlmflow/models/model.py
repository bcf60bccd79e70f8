"""A vision-language model, or a language model alone, that can be asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    Cache,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput

from vlmflow.engine import record as recording
from vlmflow.engine import replay
from vlmflow.engine.attention_stats import Looks, looks
from vlmflow.engine.batch_size import Room
from vlmflow.engine.feature_norms import feature_norms
from vlmflow.engine.float32_products import WideProducts
from vlmflow.engine.interventions import Intervention
from vlmflow.engine.modules import find_decoder, find_layers, find_norm
from vlmflow.engine.prefix import can_share
from vlmflow.errors import InterventionError, ModelError
from vlmflow.prompts.build import Patches, Prompt, build_caption_prompt, build_picture_prompt, build_prompt, turn_end
from vlmflow.prompts.layouts.geometry import Box

from .supported import check_layers
from .vocabulary import Vocabulary

# Tokens after which an answer is taken as it is, and states that are read through the unembedding at a time.
MAX_NEW_TOKENS = 16
STATES_AT_ONCE = 512


@dataclass(frozen=True)
class Answer:
    """What the model says by greedy decoding.

    Attributes:
        text: decoded, stripped.
        token_ids: without the end-of-sequence token.
        probability: of the first token, from the logits in float32.
    """

    text: str
    token_ids: list[int]
    probability: float


class LanguageModel:
    """A decoder-only language model of `transformers`, unmodified, with its tokenizer; it reads captions."""

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        self.model = model.eval()
        self.processor = processor
        self.layers = find_layers(model)
        check_layers(type(model).__name__, self.layers, find_decoder(model))
        self.norm = find_norm(model)
        self.unembedding = model.get_output_embeddings()
        self.replay_room, self.read_room = Room(replay.TOKENS_PER_BATCH), Room(STATES_AT_ONCE)
        if self.unembedding is None:
            raise ModelError(
                f"{type(model).__name__} has no output embeddings, so no answer can be read from its states"
            )

    @property
    def device(self) -> torch.device:
        """Where the model's first weights lie, and its inputs belong."""
        # Weights that did not fit anywhere are on no device until their layer is called.
        placed = (parameter.device for parameter in self.model.parameters() if parameter.device.type != "meta")
        return next(placed, torch.device("cpu"))

    def caption_prompt(
        self,
        captions: str,
        question: str,
        objects: Sequence[str] = (),
        options: tuple[str, str] | None = None,
        *,
        instruction: str = "",
    ) -> Prompt:
        """Model inputs for captions and a question, with the positions of every segment; see `build_caption_prompt`."""
        prompt = build_caption_prompt(
            self.processor, captions, question, objects=objects, options=options, instruction=instruction
        )
        return self._placed(prompt)

    def _placed(self, prompt: Prompt) -> Prompt:
        for name, value in prompt.inputs.items():
            floating = {"dtype": self.model.dtype} if value.is_floating_point() else {}
            prompt.inputs[name] = value.to(self.device, **floating)
        return prompt

    def answer(self, prompt: Prompt, max_new_tokens: int = MAX_NEW_TOKENS) -> Answer:
        """The model's greedy answer, whatever sampling its own generation settings ask for.

        Raises:
            InterventionError: its logits are not finite numbers.
        """
        tokens, logits = self.generate(prompt, max_new_tokens, self.ends)
        probability = logits.float().softmax(0)[tokens[0]].item()
        if not math.isfinite(probability):
            raise InterventionError("the model's logits are not finite numbers; another dtype may help")
        kept = [token for token in tokens if token not in self.ends]
        return Answer(self.processor.tokenizer.decode(kept, skip_special_tokens=True).strip(), kept, probability)

    @torch.inference_mode()
    def generate(
        self, prompt: Prompt, max_new_tokens: int, ends: Sequence[int], cache: Cache | None = None
    ) -> tuple[list[int], Tensor]:
        """(token ids of the greedy continuation up to one of `ends`, logits (vocabulary) of the first of them).

        `cache` is where keys and values are kept; the model's own kind by default.
        """
        own = self.model.generation_config
        greedy = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(ends) or None,
            pad_token_id=own.pad_token_id if own.pad_token_id is not None else self.processor.tokenizer.pad_token_id,
            bos_token_id=own.bos_token_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        # `generate` fills what a configuration leaves open from the model's own, so that one steps aside; and that of
        # a language model inside, which some models let generate.
        speakers = [part for part in self.model.modules() if getattr(part, "generation_config", None) is not None]
        settings = [part.generation_config for part in speakers]
        try:
            for part in speakers:
                part.generation_config = greedy
            said = self.model.generate(**prompt.inputs, **({} if cache is None else {"past_key_values": cache}))
        finally:
            for part, setting in zip(speakers, settings, strict=True):
                part.generation_config = setting
        return said.sequences[0, len(prompt) :].tolist(), said.logits[0][0]

    def said(self, prompt: Prompt, token_ids: Sequence[int]) -> Prompt:
        """The prompt after the model has said these tokens; masks and types of tokens grow as they do when the model
        itself generates, since some models take what they say for another kind of token than what they are told."""
        if not token_ids:
            return prompt
        others = {name: value for name, value in prompt.inputs.items() if name != "input_ids"}
        for _ in token_ids:
            others = self.model._update_model_kwargs_for_generation(ModelOutput(), others)
        return prompt.said(token_ids, {name: others[name] for name in prompt.inputs if name != "input_ids"})

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end an answer: the model's own, and the one with which the conversation template ends a turn.

        Some models name the end of a text only, and would go on into a turn of the user's.
        """
        own = self.model.generation_config.eos_token_id
        ends = [*(own if isinstance(own, list) else [own]), self.turn_end]
        return [token for token in dict.fromkeys(ends) if token is not None]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens as words."""
        return Vocabulary(self.processor.tokenizer, self.unembedding.out_features)

    @cached_property
    def turn_end(self) -> int | None:
        """The special token that ends a turn in the model's conversation template, if there is one."""
        return turn_end(self.processor)

    def record(self, prompt: Prompt) -> recording.Recording:
        """One ordinary forward, kept for replaying; see `vlmflow.engine.replay`.

        Raises:
            ModelError: the model's own logits are not `unembedding(norm(state))`, as every probe takes them to be.
        """
        recorded, logits = recording.record(self.model, self.layers, prompt.inputs)
        ours = self.logits(recorded.output[:, -1])
        if not torch.allclose(ours, logits.to(ours), rtol=2e-2, atol=2e-2 * float(logits.abs().max())):
            raise ModelError(
                f"{type(self.model).__name__} makes its logits in another way than unembedding(norm(last state)), "
                "for instance with a cap or a scale that is not known here"
            )
        return recorded

    def replay(
        self,
        recorded: recording.Recording,
        interventions: Sequence[Intervention],
        positions: Tensor | None = None,
    ) -> Tensor:
        """States after the last layer under each intervention, (interventions, positions, width), not normed; by
        default of the last position alone."""
        share = can_share(find_decoder(self.model))
        return replay.replay(
            self.layers, recorded, interventions, positions=positions, room=self.replay_room, share_prefix=share
        )

    def replay_without(self, recorded: recording.Recording, dropped: Tensor, positions: Tensor) -> Tensor:
        """(positions, width) states after the last layer of a forward without the positions `dropped`, not normed; see
        `vlmflow.engine.replay`."""
        return replay.replay_without(self.layers, recorded, dropped, positions)

    def looks(self, prompt: Prompt, segments: Sequence[str]) -> dict[str, Looks]:
        """Segment → what it looks at in every layer, by attention weights and by norms; see
        `vlmflow.engine.attention_stats`."""
        targets = {name: prompt.positions(name) for name in segments}
        return looks(self.model, self.layers, prompt.inputs, targets)

    @torch.inference_mode()
    def logits(self, states: Tensor, final_norm: bool = True, *, wide: bool = False) -> Tensor:
        """(…, width) states after any layer, not normed → (…, vocabulary) logits in float32 or wider.

        `wide` makes the product itself in float32 too, as the lens of [flow] does; the model makes it in its own dtype.
        """
        read = self.norm(states) if final_norm else states
        with WideProducts() if wide else nullcontext():
            logits = self.unembedding(read)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits

    def read(self, states: Tensor, reader: Callable[[Tensor], Tensor], *, wide: bool = False) -> Tensor:
        """What `reader` makes of the logits (…, vocabulary) of states (states, width), on the CPU.

        Logits are made for some states at a time, since those of many do not fit into memory; `wide` as in `logits`.

        Raises:
            InterventionError: a logit is not a finite number.
        """

        def some(number: int, waiting: Tensor) -> Tensor:
            logits = self.logits(waiting[:number], wide=wide)
            if not logits.isfinite().all():
                raise InterventionError("logits are not finite numbers; another dtype may help")
            return reader(logits).cpu()

        parts: list[Tensor] = []
        while len(states):
            parts.append(self.read_room.run(partial(some, waiting=states), most=len(states)))
            states = states[len(parts[-1]) :]
        return torch.cat(parts)


class VisionLanguageModel(LanguageModel):
    """A decoder-only vision-language model of `transformers`, unmodified, with its processor."""

    @cached_property
    def image_token_id(self) -> int:
        """The token that stands for a piece of the picture."""
        for name in ("image_token_id", "image_token_index"):
            if (token := getattr(self.model.config, name, None)) is not None:
                return int(token)
        raise ModelError(
            f"the configuration of {type(self.model).__name__} names no image token, so that the image's positions in "
            "the prompt are not known; such models are not measured yet"
        )

    def prompt(
        self,
        image: Image.Image,
        question: str,
        objects: Mapping[str, Sequence[Box]] | None = None,
        options: tuple[str, str] | None = None,
        *,
        patches: Patches | None = None,
        sinks: Sequence[int] | None = None,
        instruction: str = "",
    ) -> Prompt:
        """Model inputs for a picture and a question, with the positions of every segment; see `build_prompt`."""
        prompt = build_prompt(
            self.processor,
            image,
            question,
            image_token_id=self.image_token_id,
            objects=objects,
            options=options,
            patches=patches,
            sinks=sinks,
            instruction=instruction,
        )
        return self._placed(prompt)

    def picture_prompt(self, image: Image.Image, text: str = "", *, before: bool = False) -> Prompt:
        """Model inputs for a picture and any text, after it or before; see `build_picture_prompt`."""
        token = self.image_token_id
        return self._placed(build_picture_prompt(self.processor, image, text, image_token_id=token, before=before))

    def feature_norms(self, prompt: Prompt) -> list[float | None]:
        """Norm of the image encoder's feature behind each of the picture's tokens; see `norms.feature_norms`."""
        return feature_norms(self.model, prompt.inputs, prompt.positions("image"))
