"""What tests share besides fixtures: places in the repository, and small random models."""

from pathlib import Path

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmflow.calibration.word_level_processor import word_level_processor
from vlmflow.notebook import VisionLanguageModel

ROOT = Path(__file__).parents[2]
TINY_LLAVA = ROOT / "resources" / "tiny-llava"

WORDS = [
    "what",
    "is",
    "the",
    "color",
    "of",
    "a",
    "red",
    "blue",
    "circle",
    "square",
    "to",
    "left",
    "right",
    "in",
    "image",
    "?",
    ",",
]


def random_llava(layers=3, grid=2, width=16, seed=0, dtype=torch.float64, heads=2, key_heads=1):
    """An untrained LLaVA with `grid`² image tokens and weights large enough that every edge matters."""
    patch = 4
    processor = word_level_processor(WORDS, grid * patch, patch)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=grid * patch,
            patch_size=patch,
        ),
        text_config=LlamaConfig(
            vocab_size=len(processor.tokenizer),
            hidden_size=width,
            intermediate_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
        ),
        image_token_id=processor.image_token_id,
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return VisionLanguageModel(model, processor)
