"""Randomly initialised LLaVAs of several sizes, real ones included, for the benchmarks."""

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.build import Prompt

PRESETS = {
    "thin": {
        "layers": 40,
        "width": 64,
        "heads": 4,
        "inner": 64,
    },  # as deep as LLaVA-1.5-13b; for counts, not times
    "small": {"layers": 16, "width": 512, "heads": 8, "inner": 1376},
    "llava-1.5-7b": {"layers": 32, "width": 4096, "heads": 32, "inner": 11008},
    "llava-1.5-13b": {"layers": 40, "width": 5120, "heads": 40, "inner": 13824},
    # LLaVA-1.6-Vicuna-13b on an image in four tiles and a thumbnail, without the ends of rows: 2,304 image tokens.
    "any-resolution-13b": {"layers": 40, "width": 5120, "heads": 40, "inner": 13824, "grid": 48},
}
GRID, PATCH, QUESTION, TEMPLATE = 24, 14, 12, 20
IMAGE_TOKEN, WORDS = 0, 1000


class NoText:
    """A processor without text, since benchmarks build prompts from positions; no token ends an answer."""

    class tokenizer:  # noqa: N801 (an attribute of processors)
        pad_token_id = 0

        @staticmethod
        def decode(tokens: list[int]) -> str:
            return " ".join(map(str, tokens))


def grid_of(preset: str) -> int:
    """The side of the square of a preset's image tokens."""
    return PRESETS[preset].get("grid", GRID)


def build(preset: str, device: str, dtype: torch.dtype, grid: int = GRID) -> VisionLanguageModel:
    """A LLaVA with `grid`² image tokens."""
    shape = PRESETS[preset]
    text = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=shape["width"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        intermediate_size=shape["inner"],
    )
    # A vision tower of one thin layer: its time, which the plain method spends once per forward, is not compared.
    vision = CLIPVisionConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=4, image_size=grid * PATCH, patch_size=PATCH
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE_TOKEN, vision_feature_layer=-1)
    torch.manual_seed(0)
    with torch.device(device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        model = LlavaForConditionalGeneration(config)
        torch.set_default_dtype(previous)
    return VisionLanguageModel(model, NoText())


def build_prompt(vlm: VisionLanguageModel, dtype: torch.dtype, grid: int = GRID) -> Prompt:
    """A prompt of random words and a random image."""
    generator = torch.Generator().manual_seed(0)
    image = torch.full((grid * grid,), IMAGE_TOKEN)
    words = torch.randint(1, WORDS, (5 + QUESTION + TEMPLATE,), generator=generator)
    ids = torch.cat([words[:5], image, words[5:]])[None].to(vlm.device)
    pixels = torch.randn(1, 3, grid * PATCH, grid * PATCH, generator=generator).to(vlm.device, dtype)
    patches = torch.arange(5, 5 + grid * grid)
    question = torch.arange(QUESTION) + patches[-1] + 1
    objects, true, false = question[3:5], question[8:9], question[10:11]
    options = torch.cat([true, false])
    segments = {
        "image": patches,
        "related patches": patches[100:140],
        "other patches": torch.cat([patches[:100], patches[140:]]),
        "question": question,
        "objects": objects,
        "true option": true,
        "false option": false,
        "options": options,
        "question without objects": question[~torch.isin(question, objects)],
        "question without options": question[~torch.isin(question, options)],
        "template": torch.arange(int(question[-1]) + 1, ids.shape[1] - 1),
        "last": torch.tensor([ids.shape[1] - 1]),
    }
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return Prompt(inputs, "", segments)
