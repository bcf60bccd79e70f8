"""Vision-language models, and language models alone: prompts for them, and their answers."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from PIL import Image
from torch import Tensor
from transformers import Cache

from vlmflow.engine.feature_norms import feature_norms
from vlmflow.engine.internals import grown_inputs
from vlmflow.errors import InterventionError, ModelError
from vlmflow.prompts.build import Patches, Prompt, build_caption_prompt, build_image_prompt, build_prompt, turn_end
from vlmflow.prompts.layouts.patch_map import Box, PatchMap
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.measure_layout import measure_patch_map

from .decoder import DecoderModel
from .greedy_decoding import MAX_NEW_TOKENS, Answer, decode_greedily
from .vocabulary import Vocabulary


class LanguageModel(DecoderModel):
    """A decoder-only language model of `transformers`, unmodified, with its tokenizer; it reads captions."""

    def caption_prompt(
        self,
        captions: str,
        question: str,
        objects: Sequence[str] = (),
        options: tuple[str, str] | None = None,
        *,
        instruction: str = "",
    ) -> Prompt:
        """The prompt of captions and a question: model inputs, and the positions of every segment.

        Args:
            captions: a description of the image in words; they replace the image, on lines of their own.
            question: the question's own words, without an instruction.
            objects: names of the objects that the question is about.
            options: (true option, false option), each as it stands in the question.
            instruction: text that follows the question, for instance to answer in one word; part of `template`.

        Raises:
            PromptError: captions or question are empty, hold a special token, or are not found in the built prompt.
        """
        prompt = build_caption_prompt(
            self.processor, captions, question, objects=objects, options=options, instruction=instruction
        )
        return self._on_device(prompt)

    def _on_device(self, prompt: Prompt) -> Prompt:
        prompt.inputs.update(self._inputs_on_device(prompt.inputs))
        return prompt

    def _inputs_on_device(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs on the model's device, numbers in its dtype."""
        moved = {}
        for name, value in inputs.items():
            floating = {"dtype": self.model.dtype} if value.is_floating_point() else {}
            moved[name] = value.to(self.device, **floating)
        return moved

    def continue_prompt(self, prompt: Prompt, token_ids: Sequence[int]) -> Prompt:
        """The prompt followed by these tokens of the model's answer; its `last` is the last of them.

        Args:
            prompt: of this model.
            token_ids: of the answer; without any, the prompt itself is returned.
        """
        if not token_ids:
            return prompt
        # Masks and token types grow as they do when the model itself generates, since some models give the tokens of an
        # answer another type than those of a question.
        others = {name: value for name, value in prompt.inputs.items() if name != "input_ids"}
        for _ in token_ids:
            others = grown_inputs(self.model, others)
        return prompt.continued(token_ids, {name: others[name] for name in prompt.inputs if name != "input_ids"})

    def answer(self, prompt: Prompt, max_new_tokens: int = MAX_NEW_TOKENS) -> Answer:
        """The model's greedy answer, also if its own generation settings request sampling.

        Args:
            prompt: of this model.
            max_new_tokens: number of tokens after which the answer is cut.

        Raises:
            InterventionError: the model's logits are not finite numbers.
        """
        tokens, logits = self.generate(prompt, max_new_tokens, self.ends)
        probabilities = [row[token].item() for row, token in zip(logits.float().softmax(1), tokens, strict=True)]
        if not all(map(math.isfinite, probabilities)):
            raise InterventionError("the model's logits are not finite numbers; another dtype may help")
        kept = [(token, each) for token, each in zip(tokens, probabilities, strict=True) if token not in self.ends]
        ids = [token for token, _ in kept]
        tokenizer = self.processor.tokenizer
        return Answer(
            tokenizer.decode(ids, skip_special_tokens=True).strip(),
            ids,
            probabilities[0],
            [tokenizer.decode([token]) for token in ids],
            [each for _, each in kept],
        )

    def generate(
        self, prompt: Prompt, max_new_tokens: int, ends: Sequence[int], cache: Cache | None = None
    ) -> tuple[list[int], Tensor]:
        """(token ids of the greedy continuation up to one of `ends`, logits (tokens, vocabulary) of each choice).

        `cache` keeps keys and values; by default it is of the model's own kind.
        """
        padding = self.processor.tokenizer.pad_token_id
        return decode_greedily(
            self.model, prompt.inputs, max_new_tokens=max_new_tokens, ends=ends, padding=padding, cache=cache
        )

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end an answer: the model's own, and the one with which the conversation template ends a turn.

        Some models have a token for the end of a text only, and would continue with a turn of the user's.
        """
        own = self.model.generation_config.eos_token_id
        ends = [*(own if isinstance(own, list) else [own]), self.turn_end]
        return [token for token in dict.fromkeys(ends) if token is not None]

    @cached_property
    def turn_end(self) -> int | None:
        """The special token that ends a turn in the model's conversation template, if there is one."""
        return turn_end(self.processor)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens as words."""
        return Vocabulary(self.processor.tokenizer, self.unembedding.out_features)


class VisionLanguageModel(LanguageModel):
    """A decoder-only vision-language model of `transformers`, unmodified, with its processor."""

    @cached_property
    def image_token_id(self) -> int:
        """The token that represents a piece of the image.

        Raises:
            ModelError: the model's configuration names none.
        """
        for name in ("image_token_id", "image_token_index"):
            if (token := getattr(self.model.config, name, None)) is not None:
                return int(token)
        raise ModelError(
            f"the configuration of {type(self.model).__name__} names no image token, so the image's positions in the "
            "prompt are not known; such models are not measured yet"
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
        seed: str | None = None,
    ) -> Prompt:
        """The prompt of an image and a question: model inputs, and the positions of every segment.

        Args:
            image: of any size and mode.
            question: the question's own words, without an instruction.
            objects: name → boxes (x, y, width, height) in pixels of the image, of the objects that the question is
                about.  An object whose name is not in the question has boxes, but no positions in `objects`.
            options: (true option, false option), each as it stands in the question.
            patches: the related patches, if they are already known; by default they are found from the boxes.
            sinks: indices, among the image's tokens, of the patches whose features have a high norm.
            instruction: text that follows the question, for instance to answer in one word; part of `template`.
            seed: of the random choice of other patches that are as many as the related ones; by default the question.

        Raises:
            PromptError: the question is empty, holds a special token, or is not found in the built prompt; or the
                processor cannot make inputs of this image.
        """
        prompt = build_prompt(
            self.processor,
            image,
            question,
            image_token_id=self.image_token_id,
            patch_maps=self.patch_maps,
            objects=objects,
            options=options,
            patches=patches,
            sinks=sinks,
            instruction=instruction,
            seed=seed,
        )
        return self._on_device(prompt)

    def image_prompt(self, image: Image.Image, text: str = "", *, before: bool = False) -> Prompt:
        """The prompt of an image and any text; its only segment is `image`.

        Args:
            image: of any size and mode.
            text: may be empty.
            before: whether the text comes before the image instead of after it.

        Raises:
            PromptError: the text holds a special token, or the conversation template cannot put it there.
        """
        token = self.image_token_id
        return self._on_device(build_image_prompt(self.processor, image, text, image_token_id=token, before=before))

    @cached_property
    def patch_maps(self) -> PatchMaps:
        """Where the image's tokens lie in images of each size: declared by a layout, or else measured."""
        return PatchMaps(self.processor, self.measure_patch_map)

    def measure_patch_map(self, size: tuple[int, int]) -> PatchMap:
        """The patch map of images of `size` (width, height), measured; see `prompts.measure_layout`.

        Raises:
            GeometryError: the image's tokens are not patches.
        """
        return measure_patch_map(self.model, self.processor, self.image_token_id, size, self._inputs_on_device)

    def feature_norms(self, prompt: Prompt) -> list[float | None]:
        """Euclidean norm of the image encoder's feature behind each of the image's tokens; None for a token that is not
        a patch, such as a row newline.

        Raises:
            NotApplicableError: the model has no projector that takes each feature by itself.
        """
        return feature_norms(self.model, prompt.inputs, prompt.positions("image"))
