"""Processor and untrained weights of the tiny LLaVA."""

import math

import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from vlmflow.calibration.word_level_processor import word_level_processor
from vlmflow.data.scenes import CELL, COLORS, KINDS, SHAPES, SIDE, SIZES, TEXTURES

WIDTH = 128
LAYERS = 10
GRID = SIDE // CELL
EMBEDDING_SCALE = 0.3

ANSWERS = (*SHAPES, *COLORS, *SIZES, *TEXTURES, *KINDS, "left", "right", "top", "bottom", "yes", "no")
QUESTION_WORDS = (
    "What is the Is to of or and common there a that Which shape On which side In part picture Describe , . ?"
).split()
WORDS = (*QUESTION_WORDS, *ANSWERS, *(word.capitalize() for word in ANSWERS))


def build_processor() -> LlavaProcessor:
    """A word-level tokenizer and CLIP's image processing at 96 pixels."""
    return word_level_processor(WORDS, SIDE, CELL)


def build_model(processor: LlavaProcessor, seed: int) -> LlavaForConditionalGeneration:
    """The model before training, in float32."""
    tokenizer = processor.tokenizer
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=2 * WIDTH,
            image_size=SIDE,
            patch_size=CELL,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=344,
            max_position_embeddings=1024,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: LlavaForConditionalGeneration) -> None:
    """Set initial weights from which a small model learns fast: unit-variance layers, small residual branches, and an
    output head along the embeddings."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if name.endswith(("o_proj", "down_proj", "out_proj", "fc2")):
                module.weight /= math.sqrt(2 * LAYERS)
    words = model.get_input_embeddings().weight
    nn.init.normal_(words, std=EMBEDDING_SCALE)
    # A head that starts along the words' own embeddings can read a word as soon as a layer writes it.
    model.get_output_embeddings().weight.copy_(words / (EMBEDDING_SCALE * math.sqrt(WIDTH)))
    position_codes = model.model.vision_tower.embeddings.position_embedding.weight
    position_codes[1:] += _sinusoids(GRID, position_codes.shape[1])


def _sinusoids(grid: int, width: int) -> torch.Tensor:
    """(grid², width) two-dimensional position code: half of the width for the row, half for the column."""
    rates = torch.exp(-math.log(100.0) * torch.arange(width // 4) / (width // 4))
    angles = torch.arange(grid)[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows = axis[:, None].expand(grid, grid, -1)
    columns = axis[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=2).reshape(grid * grid, width)
