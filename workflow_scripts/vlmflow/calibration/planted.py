"""Models whose information flow is known, since their weights are set by hand; the probes are tested on them.

The image encoder of such a LLaVA reads flat colours, and its decoder only copies: at a chosen layer, every position of
one segment takes over a code that every position of another segment carries.  Attention is all or nothing, positions
have no effect (rotary phases hardly turn), and all MLPs are zero except one that can be planted.  So it is known which
edges carry the answer, and in which layers.

An image holds one *related* object, whose red channel is on and whose green and blue channels carry two bits, and one
*other* object, whose red channel is off and which carries one bit: green or blue.  In place of the image, a caption
may give the code in a word.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.layouts.patch_map import Box

from .word_level_processor import word_level_processor

QUESTION = "Which code has the picture?"
RELATED_BITS = ((0, 0), (0, 1), (1, 0), (1, 1))
OTHER_BITS = (0, 1)

# Axes of the residual stream.
ONE, START, WORD, LAST, RELATED, OTHER = range(6)
IN_IMAGE = (6, 7, 8)  # the code in the image: two bits of the related object, one of the other
IN_QUESTION = (9, 10, 11)
AT_LAST = (12, 13, 14)
AT_FIRST = (15, 16, 17)  # the code at the answer's first sub-word
FROM_MLP = (18, 19, 20)  # the output of a planted MLP for the code in the question
FIRST, DONE = 21, 22
WIDTH, HEAD = 32, 8
GAIN = 60.0  # of attention scores: a source wins over the start token by at least e^20
LOGIT = 30.0

Source = Literal["related patches", "other patches", "image", "question"]
Target = Literal["question", "last", "first sub-word"]


@dataclass(frozen=True)
class Copy:
    """At `layer`, the positions of `target` take over the code of those of `source`, by one `head`; the target `first
    sub-word` is that of the answer, so the code that it takes over determines the second sub-word."""

    source: Source
    target: Target
    layer: int
    head: int = 0


@dataclass(frozen=True)
class Plant:
    """A model's planted flow.

    Attributes:
        copies: the segments between which the code is copied.
        layers: number of the model's layers.
        words: the words of the question that take over the code; by default all.
        mlp: the layer whose MLP makes the code in the question readable as a word; by default it is readable without an
            MLP.
    """

    copies: tuple[Copy, ...]
    layers: int
    words: tuple[str, ...] | None = None
    mlp: int | None = None

    @classmethod
    def through_question(cls, layers: int, related: int, last: int) -> "Plant":
        """A plant in which the question takes over the code of the related patches, and the last position that of the
        question."""
        return cls((Copy("related patches", "question", related), Copy("question", "last", last)), layers)

    @classmethod
    def two_stages(cls, layers: int, other: int, related: int, last: int) -> "Plant":
        """A plant as in [flow]: the question first takes over the code of the other patches, then that of the related
        ones."""
        copies = (
            Copy("other patches", "question", other),
            Copy("related patches", "question", related),
            Copy("question", "last", last),
        )
        return cls(copies, layers)

    @classmethod
    def direct(cls, layers: int, layer: int) -> "Plant":
        """A plant in which the last position takes over the code of the image directly, not from the question."""
        return cls((Copy("image", "last", layer),), layers)

    @classmethod
    def two_words(cls, layers: int, related: int, last: int, second: int) -> "Plant":
        """A plant as `through_question`, with a second sub-word of the answer, which comes directly from the image."""
        copies = (*cls.through_question(layers, related, last).copies, Copy("image", "first sub-word", second))
        return cls(copies, layers)

    @property
    def has_two_sub_words(self) -> bool:
        """Whether the answer has two sub-words."""
        return any(copy.target == "first sub-word" for copy in self.copies)

    @property
    def reads_other(self) -> bool:
        """Whether the other object's bit is part of the answer."""
        return any(copy.source == "other patches" for copy in self.copies)

    def layers_of(self, source: str, target: str) -> set[int]:
        """The layers at which blocking this edge cuts a planted path."""
        equivalent = {
            "image": {"image", "related patches", "other patches"},
            "related patches": {"related patches", "image"},  # a copy from the image reads the related object
        }
        sources = equivalent.get(source, {source})
        return {copy.layer for copy in self.copies if copy.target == target and copy.source in sources}


def code_word(related: tuple[int, int], other: int) -> str:
    """The answer for these bits."""
    return f"code{related[0]}{related[1]}{other}"


def tail_word(related: tuple[int, int]) -> str:
    """The second sub-word of the answer for these bits, if there is one."""
    return f"tail{related[0]}{related[1]}"


def caption_word(related: tuple[int, int]) -> str:
    """The word of a caption that stands for these bits."""
    return f"shows{related[0]}{related[1]}"


@dataclass(frozen=True)
class PlantedScene:
    """An image for which the answer of a planted model is known."""

    image: Image.Image
    related: Box
    other: Box
    related_bits: tuple[int, int]
    other_bit: int


def paint(
    size: tuple[int, int], related: Box, other: Box, related_bits: tuple[int, int], other_bit: int
) -> PlantedScene:
    """A scene of two flat rectangles on black; boxes are in whole pixels (x, y, width, height)."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    colors = ((1, *related_bits), (0, other_bit, 1 - other_bit))
    for (x, y, width, height), color in zip((related, other), colors, strict=True):
        pixels[int(y) : int(y + height), int(x) : int(x + width)] = np.array(color) * 255
    return PlantedScene(Image.fromarray(pixels), related, other, related_bits, other_bit)


def build_planted(plant: Plant, *, grid: int = 6, patch: int = 8, dtype: str = "float32") -> VisionLanguageModel:
    """The planted model, an ordinary `LlavaForConditionalGeneration`."""
    words = QUESTION.replace("?", " ?").split()
    answers = [code_word(*bits) for bits in product(RELATED_BITS, OTHER_BITS)]
    answers += [word(bits) for word in (tail_word, caption_word) for bits in RELATED_BITS]
    # Pixels are picked, not blended, so that no colour gets into a patch that the box does not overlap.
    processor = word_level_processor(
        [*words, *answers], grid * patch, patch, image_mean=[0.0] * 3, image_std=[1.0] * 3, resample=0
    )
    model = LlavaForConditionalGeneration(_config(plant, processor, grid, patch))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        _plant_image_encoder(model)
        _plant_words(model, processor, words, plant)
        for copy in plant.copies:
            _plant_copy(model.model.language_model.layers[copy.layer].self_attn, copy)
        if plant.mlp is not None:
            _plant_mlp(model.model.language_model.layers[plant.mlp].mlp)
    return VisionLanguageModel(model.to(getattr(torch, dtype)), processor)


def _config(plant: Plant, processor: LlavaProcessor, grid: int, patch: int) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=grid * patch,
        patch_size=patch,
        layer_norm_eps=1e-12,  # a patch with one coloured pixel gives the same code as one that is filled
    )
    text = LlamaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=plant.layers,
        num_attention_heads=WIDTH // HEAD,
        num_key_value_heads=WIDTH // HEAD,
        rope_parameters={"rope_type": "default", "rope_theta": 1e30},
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="linear",
        tie_word_embeddings=False,
    )


def _plant_image_encoder(model: LlavaForConditionalGeneration) -> None:
    """Encode patches as (r, g, b, −r, −g, −b, 0, 0), scaled by the layer norm, and project them to the residual
    stream."""
    embedding = model.model.vision_tower.embeddings.patch_embedding.weight
    area = embedding.shape[2] * embedding.shape[3]
    for channel in range(3):
        embedding[channel, channel] = 1 / area
        embedding[channel + 3, channel] = -1 / area
    projector = model.model.multi_modal_projector
    projector.linear_1.weight[:8, :8] = torch.eye(8)
    red, green, blue = range(3)
    out = projector.linear_2.weight
    out[RELATED, red] = 1
    out[OTHER, green] = out[OTHER, blue] = 1
    out[OTHER, red] = -2
    out[IN_IMAGE[0], green] = out[IN_IMAGE[1], blue] = 2
    out[IN_IMAGE[0], red] = out[IN_IMAGE[1], red] = -1
    out[IN_IMAGE[2], green], out[IN_IMAGE[2], blue] = 1, -1
    projector.linear_2.bias[ONE] = 1


def _plant_words(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, words: list[str], plant: Plant
) -> None:
    token = processor.tokenizer.convert_tokens_to_ids
    embeddings = model.get_input_embeddings().weight
    embeddings[:, ONE] = 1
    embeddings[token("<s>"), START] = 1
    embeddings[token(":"), LAST] = 1
    embeddings[[token(word) for word in plant.words or words], WORD] = 1
    head = model.get_output_embeddings().weight
    head[processor.tokenizer.eos_token_id, DONE] = LOGIT
    for bits in RELATED_BITS:
        embeddings[token(tail_word(bits)), DONE] = 1
        embeddings[token(caption_word(bits)), RELATED] = 1
        for axis, bit in enumerate(bits):
            head[token(tail_word(bits)), AT_FIRST[axis]] = LOGIT * (2 * bit - 1)
            embeddings[token(caption_word(bits)), IN_IMAGE[axis]] = 2 * bit - 1
    for related, other in product(RELATED_BITS, OTHER_BITS):
        # If the other object's bit does not reach the answer, it is 0 in the answer.
        if not plant.reads_other and other == 1:
            continue
        code: tuple[int, ...] = (*related, other) if plant.reads_other else related
        word = token(code_word(related, other))
        embeddings[word, FIRST if plant.has_two_sub_words else DONE] = 1
        # The question's positions predict the code as well, without an MLP or after it.
        for axes in (AT_LAST, IN_QUESTION if plant.mlp is None else FROM_MLP):
            for axis, bit in zip(axes, code, strict=False):
                head[word, axis] = LOGIT * (2 * bit - 1)


def _plant_copy(attention: Any, copy: Copy) -> None:
    """Plant one head: the target's positions attend to the source's, all others to the start token, which has no
    code."""
    flag = {"related patches": RELATED, "image": RELATED, "other patches": OTHER, "question": WORD}[copy.source]
    read = {
        "related patches": IN_IMAGE[:2],
        "image": IN_IMAGE[:2],
        "other patches": IN_IMAGE[2:],
        "question": IN_QUESTION,
    }
    bits = {"related patches": (0, 1), "image": (0, 1), "other patches": (2,), "question": (0, 1, 2)}[copy.source]
    write = {"question": IN_QUESTION, "last": AT_LAST, "first sub-word": AT_FIRST}[copy.target]
    # Axes 0 and HEAD/2 of a head turn with the position for any rotary base; axes 1 and 2 do not turn.
    first = HEAD * copy.head
    attention.q_proj.weight[first + 1, {"question": WORD, "last": LAST, "first sub-word": FIRST}[copy.target]] = GAIN
    attention.k_proj.weight[first + 1, flag] = 1
    attention.q_proj.weight[first + 2, ONE] = GAIN / 4
    attention.k_proj.weight[first + 2, START] = 1
    for channel, (source_axis, bit) in enumerate(zip(read[copy.source], bits, strict=True)):
        attention.v_proj.weight[first + channel, source_axis] = 1
        attention.o_proj.weight[write[bit], first + channel] = 1


def _plant_mlp(mlp: Any) -> None:
    """Plant an MLP that copies IN_QUESTION to FROM_MLP; its gate is open everywhere."""
    for channel, (source, target) in enumerate(zip(IN_QUESTION, FROM_MLP, strict=True)):
        mlp.gate_proj.weight[channel, ONE] = GAIN
        mlp.up_proj.weight[channel, source] = 1
        mlp.down_proj.weight[target, channel] = 1 / GAIN
