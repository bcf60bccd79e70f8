"""Families that make of each square of an image a fixed number of tokens: Idefics2, AyaVision, Ovis2 and Aria."""

from pathlib import Path
from typing import Any

from transformers import (
    AriaConfig,
    AriaForConditionalGeneration,
    AyaVisionConfig,
    AyaVisionForConditionalGeneration,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Ovis2Config,
    Ovis2ForConditionalGeneration,
)

from support.families.base import SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts
from support.families.llavas import llama_text

SIDE, PATCH = 56, 14  # pixels: sixteen patches
SQUARE = {"height": SIDE, "width": SIDE}
VISION: dict[str, Any] = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH}


def idefics_2(folder: Path) -> None:
    """Idefics2: queries that see all of a square; four quarters of an image, then all of it."""
    named = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}
    tokenizer = byte_tokenizer(
        ["<unk>", "<s>", "</s>", *named.values(), "<end_of_utterance>"],
        begin="<s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "model_type": "mistral", "vocab_size": len(tokenizer), "sliding_window": None}
    text |= ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<unk>")
    queries = {"hidden_size": WIDTH, "resampler_n_latents": 6, "resampler_depth": 1, "resampler_n_heads": 2}
    queries |= {"resampler_head_dim": 8, "num_key_value_heads": 1}
    image_ids = ids(tokenizer, image_token_id="<image>")
    config = Idefics2Config(text_config=text, vision_config=VISION, perceiver_config=queries, **image_ids)
    save_parts(
        folder,
        Idefics2ForConditionalGeneration(config),
        tokenizer,
        chat(
            turn="{{ message['role'] | capitalize }}:",
            image="<image>",
            end="<end_of_utterance>\n",
            answer="{{ 'Assistant:' }}",
        ),
        processor={"processor_class": "Idefics2Processor", "image_seq_len": 6},
        image={
            "image_processor_type": "Idefics2ImageProcessor",
            "size": {"shortest_edge": 42, "longest_edge": SIDE},
            "do_image_splitting": True,
        },
    )


def aya_vision(folder: Path) -> None:
    """AyaVision: numbered squares of an image, then all of it; some layers see a window."""
    around = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE_GLOBAL"]
    tokenizer = byte_tokenizer(
        ["<PAD>", "<UNK>", "<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"]
        + ["<|CHATBOT_TOKEN|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", "TILE", "<image>", *around]
        + [f"TILE_{number}" for number in range(1, 13)],
        begin="<BOS_TOKEN>",
        bos_token="<BOS_TOKEN>",
        eos_token="<|END_OF_TURN_TOKEN|>",
        unk_token="<UNK>",
        pad_token="<PAD>",
    )
    text = {**SMALL_TEXT, "model_type": "cohere2", "vocab_size": len(tokenizer), "sliding_window": 8}
    text |= ids(tokenizer, bos_token_id="<BOS_TOKEN>", eos_token_id="<|END_OF_TURN_TOKEN|>", pad_token_id="<PAD>")
    vision = {**VISION, "model_type": "siglip_vision_model", "vision_use_head": False}
    image_ids = ids(tokenizer, image_token_index="<|IMG_PATCH|>")
    config = AyaVisionConfig(text_config=text, vision_config=vision, **image_ids)
    save_parts(
        folder,
        AyaVisionForConditionalGeneration(config),
        tokenizer,
        chat(
            begin="<BOS_TOKEN>",
            turn="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            image="<image>",
            end="<|END_OF_TURN_TOKEN|>",
            answer="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>",
        ),
        processor={
            "processor_class": "AyaVisionProcessor",
            "patch_size": PATCH,
            "img_size": SIDE,
            "downsample_factor": 2,
        },
        image={"image_processor_type": "GotOcr2ImageProcessor", "size": SQUARE, "crop_to_patches": True},
    )


def ovis_2(folder: Path) -> None:
    """Ovis2: each token of an image is a mixture of visual words; what stands for it in the text is no token."""
    indicators = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_ATOM>", *indicators],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<IMG_ATOM>", *indicators],
    )
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>")
    vision = {**VISION, "hidden_stride": 2, "vocab_size": 40, "num_visual_indicator_tokens": 5}
    config = Ovis2Config(
        text_config=text,
        vision_config=vision,
        hidden_size=WIDTH,
        vocab_size=len(tokenizer),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(indicators),
        **ids(tokenizer, image_token_id="<IMG_ATOM>"),
    )
    save_parts(
        folder,
        Ovis2ForConditionalGeneration(config),
        tokenizer,
        chat(
            begin="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
            turn="<|im_start|>{{ message['role'] }}\n",
            image="<image>{{ '\n' }}",
            end="<|im_end|>\n",
            answer="<|im_start|>assistant\n",
        ),
        processor={"processor_class": "Ovis2Processor", "image_token": "<image>", "image_seq_length": 4},
        image={"image_processor_type": "Ovis2ImageProcessor", "size": SQUARE, "crop_to_patches": True},
    )


def aria(folder: Path) -> None:
    """Aria: queries that see all of an image, and a decoder of experts."""
    named = {"image_token": "<|img|>"}
    tokenizer = byte_tokenizer(
        ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<|img|>", "<fim_prefix>", "<fim_suffix>"],
        bos_token="<s>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=named,
    )
    experts = {"moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1}
    text = {**llama_text(tokenizer), **experts, "model_type": "aria_text"}
    vision = {**VISION, "image_size": 980, "patch_size": 140, "model_type": "idefics3_vision"}
    config = AriaConfig(
        text_config=text,
        vision_config=vision,
        projector_patch_to_query_dict={49: 8},
        **ids(tokenizer, image_token_index="<|img|>"),
    )
    save_parts(
        folder,
        AriaForConditionalGeneration(config),
        tokenizer,
        chat(
            turn="<|im_start|>{{ message['role'] }}\n",
            image="<fim_prefix><|img|><fim_suffix>",
            end="<|im_end|>\n",
            answer="<|im_start|>assistant\n",
        ),
        processor={"processor_class": "AriaProcessor", "size_conversion": {"980": 8}},
        image={"image_processor_type": "AriaImageProcessor", "max_image_size": 980, "split_image": False},
    )


FIXED_TOKENS: dict[str, Family] = {
    "Idefics2": Family(idefics_2, no_patches="no pixel reaches an image token except through attention"),
    "AyaVision": Family(aya_vision),
    "Ovis2": Family(ovis_2),
    "Aria": Family(aria, no_patches="no pixel reaches an image token except through attention"),
}
