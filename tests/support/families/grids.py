"""Families whose image is one grid of tokens, however large: Qwen's and GLM's."""

from pathlib import Path
from typing import Any

from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm46VConfig,
    Glm46VForConditionalGeneration,
    GlmgaConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from support.families.base import SMALL_TEXT, WIDTH, Family, byte_tokenizer, chat, ids, save_parts

QWEN_CHAT = chat(
    turn="<|im_start|>{{ message['role'] }}\n",
    image="<|vision_start|><|image_pad|><|vision_end|>",
    end="<|im_end|>\n",
    answer="<|im_start|>assistant\n",
)
GLM_CHAT = chat(
    begin="[gMASK]<sop>\n",
    turn="<|{{ message['role'] }}|>\n",
    image="<|begin_of_image|><|image|><|end_of_image|>",
    end="",
    answer="<|assistant|>\n",
)
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HEAD_WIDTH_8 = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """With the special tokens that all of Qwen's vision-language models have."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    return byte_tokenizer(
        [*special, "<|image_pad|>", "<|video_pad|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """What the configuration calls the tokens around and of an image."""
    return ids(
        tokenizer,
        image_token_id="<|image_pad|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>",
        vision_end_token_id="<|vision_end|>",
    )


def qwen_text(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    """The decoder of all of Qwen's, small."""
    ends = ids(tokenizer, eos_token_id="<|im_end|>", bos_token_id="<|endoftext|>")
    return {**SMALL_TEXT, **ends, "vocab_size": len(tokenizer), "rope_parameters": HEAD_WIDTH_8, **more}


def qwen_2(folder: Path) -> None:
    """Qwen2-VL."""
    tokenizer = qwen_tokenizer()
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": WIDTH, "mlp_ratio": 2, "num_heads": 2}
    config = Qwen2VLConfig(text_config=qwen_text(tokenizer), vision_config=vision, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen2VLForConditionalGeneration(config), tokenizer, "Qwen2VL", patch=14)


def qwen_2_5(folder: Path) -> None:
    """Qwen2.5-VL."""
    tokenizer = qwen_tokenizer()
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": WIDTH}
    vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(text_config=qwen_text(tokenizer), vision_config=vision, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen2_5_VLForConditionalGeneration(config), tokenizer, "Qwen2_5_VL", patch=14)


# Its image encoder hands features of inner layers to the decoder's first layers.
QWEN_3_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}


def qwen_3(folder: Path) -> None:
    """Qwen3-VL."""
    tokenizer = qwen_tokenizer()
    text = qwen_text(tokenizer, head_dim=8)
    config = Qwen3VLConfig(text_config=text, vision_config=QWEN_3_VISION, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen3VLForConditionalGeneration(config), tokenizer, "Qwen3VL", patch=16)


def qwen_3_moe(folder: Path) -> None:
    """Qwen3-VL with experts."""
    tokenizer = qwen_tokenizer()
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    text = qwen_text(tokenizer, head_dim=8, **experts)
    config = Qwen3VLMoeConfig(text_config=text, vision_config=QWEN_3_VISION, **qwen_ids(tokenizer))
    save_qwen(folder, Qwen3VLMoeForConditionalGeneration(config), tokenizer, "Qwen3VL", patch=16)


def save_qwen(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, name: str, patch: int) -> None:
    """Write the model, and its parts as all of Qwen's hubs have them."""
    pixels = {"patch_size": patch, "merge_size": 2, "temporal_patch_size": 2, **CLIP}
    size = {"shortest_edge": 56 * 56, "longest_edge": 280 * 280}
    save_parts(
        folder,
        model,
        tokenizer,
        QWEN_CHAT,
        processor={"processor_class": f"{name}Processor"},
        image={"image_processor_type": "Qwen2VLImageProcessorFast", "size": size, **pixels},
        video={"video_processor_type": f"{name.replace('2_5_', '2')}VideoProcessor", "size": size, **pixels},
    )


def glm_tokenizer() -> PreTrainedTokenizerFast:
    """With the special tokens of GLM-4V."""
    special = ["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"]
    images = ["<|begin_of_image|>", "<|end_of_image|>", "<|image|>"]
    videos = ["<|begin_of_video|>", "<|end_of_video|>", "<|video|>"]
    return byte_tokenizer([*special, *images, *videos], eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def glm_settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The configuration of GLM-4V and GLM-4.6V, small; half of each head turns with the position."""
    turning = HEAD_WIDTH_8 | {"partial_rotary_factor": 0.5}
    text = SMALL_TEXT | {"num_attention_heads": 2, "num_key_value_heads": 1}
    ends = ids(tokenizer, eos_token_id="<|endoftext|>", pad_token_id="<|endoftext|>")
    vision = {"depth": 2, "hidden_size": 16, "num_heads": 2, "out_hidden_size": WIDTH, "intermediate_size": 32}
    return {
        "text_config": {**text, **ends, "vocab_size": len(tokenizer), "rope_parameters": turning},
        "vision_config": {**vision, "image_size": 84},
        **ids(
            tokenizer,
            image_token_id="<|image|>",
            video_token_id="<|video|>",
            image_start_token_id="<|begin_of_image|>",
            image_end_token_id="<|end_of_image|>",
            video_start_token_id="<|begin_of_video|>",
            video_end_token_id="<|end_of_video|>",
        ),
    }


def glm_4(folder: Path) -> None:
    """GLM-4V."""
    tokenizer = glm_tokenizer()
    model = Glm4vForConditionalGeneration(Glm4vConfig(**glm_settings(tokenizer)))
    save_glm(folder, model, tokenizer, "Glm4v")


def glm_4_6(folder: Path) -> None:
    """GLM-4.6V."""
    tokenizer = glm_tokenizer()
    settings = glm_settings(tokenizer)
    settings["text_config"]["model_type"] = "glm4v_text"
    settings["vision_config"]["model_type"] = "glm4v_vision"
    model = Glm46VForConditionalGeneration(Glm46VConfig(**settings))
    save_glm(folder, model, tokenizer, "Glm46V")


def glm_ga(folder: Path) -> None:
    """GLM-GA: GLM-4.6V's model with a configuration of its own."""
    tokenizer = glm_tokenizer()
    settings = glm_settings(tokenizer)
    settings["text_config"]["model_type"] = "glm4v_text"
    settings["vision_config"]["model_type"] = "glm4v_vision"
    save_glm(folder, Glm46VForConditionalGeneration(GlmgaConfig(**settings)), tokenizer, "Glm46V")


def save_glm(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Write the model, and its parts as the hub has them."""
    pixels = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, **CLIP}
    size = {"shortest_edge": 56 * 56, "longest_edge": 280 * 280}
    save_parts(
        folder,
        model,
        tokenizer,
        GLM_CHAT,
        processor={"processor_class": f"{name}Processor"},
        image={"image_processor_type": f"{name}ImageProcessor", "size": size, **pixels},
        video={"video_processor_type": f"{name}VideoProcessor", "size": size, **pixels},
    )


GRIDS: dict[str, Family] = {
    "Qwen2-VL": Family(qwen_2),
    "Qwen2.5-VL": Family(qwen_2_5),
    "Qwen3-VL": Family(qwen_3),
    "Qwen3-VL-MoE": Family(qwen_3_moe),
    "GLM-4V": Family(glm_4),
    "GLM-4.6V": Family(glm_4_6),
    "GLM-GA": Family(glm_ga),
}
