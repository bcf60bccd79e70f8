"""Families of which some layers have no attention, or take keys of earlier layers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    Gemma3nConfig,
    Lfm2VlConfig,
    Lfm2VlForConditionalGeneration,
    Lfm3VlConfig,
    Lfm3VlForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
)

from support.families.base import LAYERS, SMALL_TEXT, SMALL_VISION, Family, byte_tokenizer, ids, save_parts
from support.families.grids import HEAD_WIDTH_8, QWEN_3_VISION, qwen_ids, qwen_text, qwen_tokenizer, save_qwen
from support.families.tiles import CHATML, chatml, gemma_4

LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 8,
    "partial_rotary_factor": 0.5,
}
QWEN_3_5_ROPE = {**HEAD_WIDTH_8, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 0]}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def qwen_3_5(folder: Path, kinds: Sequence[str] | None = None) -> None:
    """Qwen3.5: three of four layers are linear attention, which is what its configuration takes by default."""
    tokenizer = qwen_tokenizer()
    text = qwen_text(tokenizer, **LINEAR, layer_types=kinds)
    text["rope_parameters"] = QWEN_3_5_ROPE
    vision = {name: value for name, value in QWEN_3_VISION.items() if name != "deepstack_visual_indexes"}
    config = Qwen3_5Config(text_config=text, vision_config=vision, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen3_5ForConditionalGeneration(config), tokenizer, "Qwen3VL", patch=16)


def qwen_3_5_moe(folder: Path) -> None:
    """Qwen3.5 with experts."""
    tokenizer = qwen_tokenizer()
    text: dict[str, Any] = qwen_text(tokenizer, **LINEAR, **EXPERTS)
    text["rope_parameters"] = QWEN_3_5_ROPE
    vision = {name: value for name, value in QWEN_3_VISION.items() if name != "deepstack_visual_indexes"}
    config = Qwen3_5MoeConfig(text_config=text, vision_config=vision, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen3_5MoeForConditionalGeneration(config), tokenizer, "Qwen3VL", patch=16)


def lfm_2(folder: Path) -> None:
    """LFM2-VL: of each two layers one is a convolution; its images are cut with torchvision only."""
    places = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 4) for column in range(1, 4)]
    marks = ["<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *places]
    tokenizer = byte_tokenizer([*CHATML, *marks], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text = {**SMALL_TEXT, "model_type": "lfm2", "vocab_size": len(tokenizer), "conv_L_cache": 3}
    text["layer_types"] = ["conv", "full_attention"] * (LAYERS // 2)
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>", pad_token_id="<|endoftext|>")
    vision = {**SMALL_VISION, "model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 16}
    image_ids = ids(tokenizer, image_token_id="<image>")
    config = Lfm2VlConfig(text_config=text, vision_config=vision, projector_hidden_size=32, **image_ids)
    save_parts(
        folder,
        Lfm2VlForConditionalGeneration(config),
        tokenizer,
        chatml("<image>"),
        processor={"processor_class": "Lfm2VlProcessor"},
        image={"image_processor_type": "Lfm2VlImageProcessorFast", "encoder_patch_size": 16, "downsample_factor": 2},
    )


def lfm_3(folder: Path) -> None:
    """LFM3-VL: of each two layers one is a convolution, also in the image encoder."""
    tokenizer = qwen_tokenizer()
    text = qwen_text(tokenizer, model_type="lfm3", head_dim=8, conv_L_cache=3, sliding_window=16)
    text["layer_types"] = ["conv", "full_attention", "conv", "sliding_attention"]
    text.pop("rope_parameters")
    text |= ids(tokenizer, pad_token_id="<|endoftext|>")
    vision = {**SMALL_VISION, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}
    config = Lfm3VlConfig(text_config=text, vision_config=vision, projector_hidden_size=32, **qwen_ids(tokenizer))
    save_qwen(folder, Lfm3VlForConditionalGeneration(config), tokenizer, "Lfm3Vl", patch=16)


def gemma_3n(folder: Path) -> None:
    """Gemma 3n: four states per position."""
    text = {**SMALL_TEXT, "num_kv_shared_layers": 2}
    Gemma3nConfig(text_config=text).save_pretrained(folder)


HYBRIDS: dict[str, Family] = {
    "Qwen3.5": Family(qwen_3_5),
    "Qwen3.5, attention first": Family(partial(qwen_3_5, kinds=["full_attention", "linear_attention"] * 2)),
    "Qwen3.5-MoE": Family(qwen_3_5_moe),
    "LFM2-VL": Family(lfm_2, needs="torchvision"),
    "LFM3-VL": Family(lfm_3),
    "Gemma 4 with shared keys": Family(partial(gemma_4, shared=2)),
    "Gemma 3n": Family(gemma_3n, refused="AltUp"),
}
