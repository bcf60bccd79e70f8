"""Small random models whose image's tokens see each other, or the whole prompt: Gemma 3 and PaliGemma."""

import types

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
)

from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.build import Prompt

IMAGE = 50  # the token that stands for a piece of the image
TEXT = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
EYES = {
    "model_type": "siglip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 12,
    "patch_size": 4,
    "vision_use_head": False,
}


def pali_gemma():
    config = PaliGemmaConfig(
        vision_config=EYES | {"projection_dim": 32},
        text_config=TEXT | {"model_type": "gemma"},
        image_token_index=IMAGE,
        projection_dim=32,
        hidden_size=32,
    )
    return PaliGemmaForConditionalGeneration._from_config(config, attn_implementation="sdpa"), torch.zeros_like


def gemma_3():
    config = Gemma3Config(
        vision_config=EYES,
        text_config=TEXT | {"model_type": "gemma3_text", "sliding_window": 64, "query_pre_attn_scalar": 8},
        image_token_index=IMAGE,
        mm_tokens_per_image=9,
        boi_token_index=51,
        eoi_token_index=52,
    )
    model = Gemma3ForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    return model, lambda ids: (ids == IMAGE).long()


def looking_ahead(build):
    """(model, a prompt of nine image tokens and a question)."""
    torch.manual_seed(0)
    model, types_of = build()
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn_like(parameter) * scale)
    ids = torch.tensor([[3, *[IMAGE] * 9, 10, 11, 12, 13]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": types_of(ids),
        "pixel_values": torch.randn(1, 3, 12, 12, dtype=torch.float64),
    }
    segments = {"image": torch.arange(1, 10), "question": torch.tensor([10, 11, 12]), "last": torch.tensor([13])}
    return VisionLanguageModel(model.double(), types.SimpleNamespace(tokenizer=None)), Prompt(inputs, "", segments)
