"""LLaVA and its kin: LLaVA-1.5, VipLLaVA, LLaVA-NeXT, and those that read videos too."""

from pathlib import Path
from typing import Any

from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    PreTrainedTokenizerFast,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)

from support.families.base import SMALL_TEXT, Family, byte_tokenizer, chat, ids, save_parts
from support.families.tiles import PATCH, SIDE, SQUARE, VISION

CLIP = {**VISION, "model_type": "clip_vision_model"}
PINPOINTS = {"image_grid_pinpoints": [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]}
VICUNA_CHAT = chat(
    turn="{{ message['role'] | upper }}: ", image="<image>{{ '\n' }}", end="{{ ' ' }}", answer="{{ 'ASSISTANT:' }}"
)


def vicuna_tokenizer() -> PreTrainedTokenizerFast:
    """With the special tokens of LLaVA."""
    return byte_tokenizer(
        ["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        begin="<s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )


def llama_text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A small Llama that speaks with the tokenizer."""
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    return text | ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<pad>")


def save_llava(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, kind: str, **image: Any) -> None:
    """Write the model, and its parts as LLaVA's hubs have them."""
    counting = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    pixels = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE, "do_center_crop": True, **image}
    save_parts(
        folder,
        model,
        tokenizer,
        VICUNA_CHAT,
        processor={"processor_class": f"{kind}Processor", "image_token": "<image>", **counting},
        image={"image_processor_type": "CLIPImageProcessor", **pixels},
    )


def llava(folder: Path) -> None:
    """LLaVA-1.5."""
    tokenizer = vicuna_tokenizer()
    image_ids = ids(tokenizer, image_token_index="<image>")
    config = LlavaConfig(text_config=llama_text(tokenizer), vision_config=CLIP, **image_ids)
    save_llava(folder, LlavaForConditionalGeneration(config), tokenizer, "Llava")


def vip_llava(folder: Path) -> None:
    """VipLLaVA: features of several layers of the image encoder."""
    tokenizer = vicuna_tokenizer()
    image_ids = ids(tokenizer, image_token_index="<image>")
    layers = {"vision_feature_layers": [-2, -1]}
    config = VipLlavaConfig(text_config=llama_text(tokenizer), vision_config=CLIP, **layers, **image_ids)
    save_llava(folder, VipLlavaForConditionalGeneration(config), tokenizer, "Llava")


def llava_next(folder: Path) -> None:
    """LLaVA-NeXT: the whole image, then squares of it, whose rows end with a newline token."""
    tokenizer = vicuna_tokenizer()
    image_ids = ids(tokenizer, image_token_index="<image>")
    config = LlavaNextConfig(text_config=llama_text(tokenizer), vision_config=CLIP, **PINPOINTS, **image_ids)
    model = LlavaNextForConditionalGeneration(config)
    save_llava(folder, model, tokenizer, "LlavaNext", image_processor_type="LlavaNextImageProcessor", **PINPOINTS)


def video_llava(folder: Path) -> None:
    """Video-LLaVA: an image encoder each for images and videos."""
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>"]
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = byte_tokenizer(special, begin="<s>", **named)
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<pad>")
    token_ids = ids(tokenizer, image_token_index="<image>", video_token_index="<video>")
    pixels = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}
    save_parts(
        folder,
        VideoLlavaForConditionalGeneration(VideoLlavaConfig(text_config=text, vision_config=CLIP, **token_ids)),
        tokenizer,
        chat(turn="{{ message['role'] | upper }}: ", image="<image>\n", end=" ", answer="{{ 'ASSISTANT:' }}"),
        processor={"processor_class": "VideoLlavaProcessor", "patch_size": 14, "num_additional_image_tokens": 1},
        image={"image_processor_type": "VideoLlavaImageProcessor", **pixels},
        video={"video_processor_type": "VideoLlavaVideoProcessor", **pixels},
    )


def next_video(folder: Path) -> None:
    """LLaVA-NeXT-Video, which reads images as LLaVA-NeXT does."""
    special = ["<unk>", "<s>", "</s>", "<pad>", "<video>", "<image>"]
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = byte_tokenizer(special, begin="<s>", **named)
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<pad>")
    token_ids = ids(tokenizer, image_token_index="<image>", video_token_index="<video>")
    config = LlavaNextVideoConfig(text_config=text, vision_config=CLIP, **PINPOINTS, **token_ids)
    counting = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    pixels = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}
    save_parts(
        folder,
        LlavaNextVideoForConditionalGeneration(config),
        tokenizer,
        chat(turn="{{ message['role'] | upper }}: ", image="<image>\n", end=" ", answer="{{ 'ASSISTANT:' }}"),
        processor={"processor_class": "LlavaNextVideoProcessor", **counting},
        image={"image_processor_type": "LlavaNextImageProcessor", **pixels, **PINPOINTS},
        video={"video_processor_type": "LlavaNextVideoVideoProcessor", **pixels},
    )


LLAVAS: dict[str, Family] = {
    "LLaVA": Family(llava),
    "VipLLaVA": Family(vip_llava),
    "LLaVA-NeXT": Family(llava_next),
    "LLaVA-NeXT-Video": Family(next_video),
    "Video-LLaVA": Family(video_llava),
}
