"""Families whose images are cut with torchvision only: Pixtral, Mistral 3, Llama 4, Cohere2Vision, PerceptionLM and
Molmo2."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import (
    Cohere2VisionConfig,
    Cohere2VisionForConditionalGeneration,
    Llama4Config,
    Llama4ForConditionalGeneration,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Molmo2Config,
    Molmo2ForConditionalGeneration,
    PerceptionLMConfig,
    PerceptionLMForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from support.families.base import SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts

SIDE, PATCH = 56, 14  # pixels: sixteen patches
SQUARE = {"height": SIDE, "width": SIDE}
VISION: dict[str, Any] = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH}
PIXTRAL = {**VISION, "model_type": "pixtral", "image_size": 2 * SIDE}
MISTRAL_CHAT = chat(begin="<s>", turn="[INST]", image="[IMG]", end="[/INST]", answer="")
LLAMA_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|pad|>"]
LLAMA_CHAT = chat(
    begin="<|begin_of_text|>",
    turn="<|header_start|>{{ message['role'] }}<|header_end|>\n\n",
    image="<|image|>",
    end="<|eot|>",
    answer="<|header_start|>assistant<|header_end|>\n\n",
)


def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """With the special tokens of Pixtral and Mistral 3."""
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return byte_tokenizer(special, begin="<s>", additional_special_tokens=special[3:], **named)


def mistral_text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Their decoder, small."""
    text = {**SMALL_TEXT, "model_type": "mistral", "vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": None}
    return text | ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<pad>")


def save_pixtral(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, merged: int) -> None:
    """Write the model, and its parts as the hub has them."""
    sizes = {"size": {"longest_edge": 2 * SIDE}, "patch_size": PATCH * merged}
    save_parts(
        folder,
        model,
        tokenizer,
        MISTRAL_CHAT,
        processor={"processor_class": "PixtralProcessor", "patch_size": PATCH, "spatial_merge_size": merged},
        image={"image_processor_type": "PixtralImageProcessor", **sizes},
    )


def pixtral(folder: Path) -> None:
    """Pixtral, as a LLaVA: an image as large as it is, with a token after each row."""
    tokenizer = mistral_tokenizer()
    config = LlavaConfig(
        text_config=mistral_text(tokenizer),
        vision_config=PIXTRAL,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        **ids(tokenizer, image_token_index="[IMG]"),
    )
    save_pixtral(folder, LlavaForConditionalGeneration(config), tokenizer, merged=1)


def mistral_3(folder: Path) -> None:
    """Mistral 3: as Pixtral, with four patches a token."""
    tokenizer = mistral_tokenizer()
    image_ids = ids(tokenizer, image_token_index="[IMG]")
    config = Mistral3Config(text_config=mistral_text(tokenizer), vision_config=PIXTRAL, **image_ids)
    save_pixtral(folder, Mistral3ForConditionalGeneration(config), tokenizer, merged=2)


def llama_4_parts() -> tuple[PreTrainedTokenizerFast, Llama4Config]:
    """(tokenizer, configuration) of Llama 4: every second layer has experts, and three of four see a window."""
    around = ["<|image_start|>", "<|image_end|>", "<|tile_x_separator|>", "<|tile_y_separator|>", "<|image|>"]
    tokenizer = byte_tokenizer(
        [*LLAMA_SPECIAL, *around, "<|patch|>"],
        begin="<|begin_of_text|>",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot|>",
        pad_token="<|pad|>",
    )
    text = {**SMALL_TEXT, "head_dim": 8, "intermediate_size_mlp": 64, "num_local_experts": 4}
    text |= {"interleave_moe_layer_step": 2, "attention_chunk_size": 20, "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|begin_of_text|>", eos_token_id="<|eot|>", pad_token_id="<|pad|>")
    # Four patches become one token: 4 · 16 features.
    vision = {**VISION, "intermediate_size": 64, "vision_output_dim": 16}
    vision |= {"projector_input_dim": 16, "projector_output_dim": 16}
    image_ids = ids(
        tokenizer,
        image_token_index="<|patch|>",
        boi_token_index="<|image_start|>",
        eoi_token_index="<|image_end|>",
    )
    return tokenizer, Llama4Config(text_config=text, vision_config=vision, **image_ids)


def llama_4(folder: Path) -> None:
    """Llama 4: squares of an image, then all of it."""
    tokenizer, config = llama_4_parts()
    save_parts(
        folder,
        Llama4ForConditionalGeneration(config),
        tokenizer,
        LLAMA_CHAT,
        processor={
            "processor_class": "Llama4Processor",
            "patch_size": PATCH,
            "pixel_shuffle_ratio": 0.5,
            "fake_image_token": "<|image|>",
            "image_token": "<|image|>",
            "patch_token": "<|patch|>",
        },
        image={"image_processor_type": "Llama4ImageProcessorFast", "size": SQUARE, "max_patches": 4},
    )


def cohere_2(folder: Path) -> None:
    """Cohere2Vision: squares of an image, then all of it, each ending with a token."""
    named = {
        "boi_token": "<|START_OF_IMG|>",
        "eoi_token": "<|END_OF_IMG|>",
        "image_token": "<|IMG_PATCH|>",
        "img_line_break_token": "<|IMG_LINE_BREAK|>",
    }
    turns = ["<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"]
    tokenizer = byte_tokenizer(
        ["<PAD>", "<UNK>", "<BOS_TOKEN>", *turns, *named.values()],
        begin="<BOS_TOKEN>",
        bos_token="<BOS_TOKEN>",
        eos_token="<|END_OF_TURN_TOKEN|>",
        unk_token="<UNK>",
        pad_token="<PAD>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "model_type": "cohere2", "vocab_size": len(tokenizer), "sliding_window": 8}
    text |= ids(tokenizer, bos_token_id="<BOS_TOKEN>", eos_token_id="<|END_OF_TURN_TOKEN|>", pad_token_id="<PAD>")
    config = Cohere2VisionConfig(
        text_config=text,
        vision_config={**VISION, "model_type": "siglip_vision_model", "vision_use_head": False},
        alignment_intermediate_size=64,
        **ids(tokenizer, image_token_id="<|IMG_PATCH|>"),
    )
    save_parts(
        folder,
        Cohere2VisionForConditionalGeneration(config),
        tokenizer,
        chat(
            begin="<BOS_TOKEN>",
            turn="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            image="<|IMG_PATCH|>",
            end="<|END_OF_TURN_TOKEN|>",
            answer="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        processor={"processor_class": "Cohere2VisionProcessor"},
        # Its processor takes this for the rows of a square's tokens.
        image={"image_processor_type": "Cohere2VisionImageProcessorFast", "size": SQUARE, "patch_size": 2},
    )


def perception_lm(folder: Path) -> None:
    """PerceptionLM, whose image encoder is one of timm's."""
    named = {"image_token": "<|image|>", "video_token": "<|video|>"}
    tokenizer = byte_tokenizer(
        [*LLAMA_SPECIAL, *named.values()],
        begin="<|begin_of_text|>",
        bos_token="<|begin_of_text|>",
        eos_token="<|eot|>",
        pad_token="<|pad|>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|begin_of_text|>", eos_token_id="<|eot|>", pad_token_id="<|pad|>")
    encoder = {"embed_dim": 16, "depth": 2, "num_heads": 2, "img_size": [SIDE, SIDE], "global_pool": ""}
    vision = {"model_type": "timm_wrapper", "architecture": "vit_pe_core_large_patch14_336", "model_args": encoder}
    config = PerceptionLMConfig(
        text_config=text,
        vision_config=vision,
        projector_pooling_ratio=2,
        **ids(tokenizer, image_token_id="<|image|>", video_token_id="<|video|>"),
    )
    # There is no such image encoder without timm; what is asked for first then is torchvision.
    build = PerceptionLMForConditionalGeneration if find_spec("timm") else LlamaForCausalLM
    model = build(config if find_spec("timm") else config.text_config)
    pixels = {"tile_size": SIDE, "max_num_tiles": 4, "vision_input_type": "thumb+tile"}
    save_parts(
        folder,
        model,
        tokenizer,
        LLAMA_CHAT,
        processor={"processor_class": "PerceptionLMProcessor", "patch_size": PATCH, "pooling_ratio": 2},
        image={"image_processor_type": "PerceptionLMImageProcessorFast", **pixels},
        video={"video_processor_type": "PerceptionLMVideoProcessor", "size": SQUARE},
    )
    config.save_pretrained(folder)


def molmo_2(folder: Path) -> None:
    """Molmo2: the whole image, then a larger grid of it, whose rows end with a token."""
    around = ["<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<frame_start>", "<frame_end>"]
    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image|>", "<|video|>", "<im_low>", *around],
        bos_token="<|im_end|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    )
    text = {**SMALL_TEXT, "head_dim": 8, "vocab_size": len(tokenizer), "additional_vocab_size": 4}
    vision = {**SMALL_VISION, "num_key_value_heads": 2, "head_dim": 8, "image_size": [SIDE, SIDE], "patch_size": PATCH}
    adapter = {"vision_feature_layer": [-1, -2], "hidden_size": 16, "num_attention_heads": 2, "head_dim": 8}
    adapter |= {"num_key_value_heads": 2, "intermediate_size": 32, "text_hidden_size": WIDTH}
    config = Molmo2Config(
        text_config=text,
        vision_config=vision,
        adapter_config=adapter,
        **ids(
            tokenizer,
            image_start_token_id="<im_start>",
            image_end_token_id="<im_end>",
            image_patch_id="<im_patch>",
            low_res_image_start_token_id="<low_res_im_start>",
            frame_start_token_id="<frame_start>",
            frame_end_token_id="<frame_end>",
        ),
    )
    pixels = {"size": SQUARE, "patch_size": PATCH, "pooling_size": [2, 2], "max_crops": 4, "overlap_margins": [1, 1]}
    save_parts(
        folder,
        Molmo2ForConditionalGeneration(config),
        tokenizer,
        chat(
            turn="<|im_start|>{{ message['role'] }}\n",
            image="<|image|>",
            end="<|im_end|>\n",
            answer="<|im_start|>assistant\n",
        ),
        processor={"processor_class": "Molmo2Processor"},
        image={"image_processor_type": "Molmo2ImageProcessor", **pixels},
        video={"video_processor_type": "Molmo2VideoProcessor", "size": SQUARE},
    )


TORCHVISION: dict[str, Family] = {
    "Pixtral": Family(pixtral, needs="torchvision"),
    "Mistral 3": Family(mistral_3, needs="torchvision"),
    "Llama 4": Family(llama_4, needs="torchvision", tolerance=1e-7),  # its positions turn in single precision
    "Cohere2Vision": Family(cohere_2, needs="torchvision"),
    "PerceptionLM": Family(perception_lm, needs="timm" if find_spec("torchvision") else "torchvision"),
    "Molmo2": Family(molmo_2, needs="torchvision"),
}
