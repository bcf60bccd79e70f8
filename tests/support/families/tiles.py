"""Families whose image is one or several squares: InternVL, LLaVA-OneVision, SmolVLM, Idefics3, Gemma, PaliGemma."""

from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from support.families.base import LAYERS, SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts

SIDE, PATCH = 56, 14  # pixels: sixteen patches
SQUARE = {"height": SIDE, "width": SIDE}
VISION = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH}
SIGLIP = {**VISION, "model_type": "siglip_vision_model", "vision_use_head": False}
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def chatml(image: str) -> str:
    """The conversation template of models with a decoder of Qwen's."""
    return chat(
        turn="<|im_start|>{{ message['role'] }}\n",
        image=image,
        end="<|im_end|>\n",
        answer="<|im_start|>assistant\n",
    )


def intern_vl(folder: Path) -> None:
    """InternVL: squares of an image, then all of it."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = byte_tokenizer(
        [*CHATML, *named.values()],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>")
    vision = {**VISION, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}
    image_ids = ids(tokenizer, image_token_id="<IMG_CONTEXT>")
    config = InternVLConfig(text_config=text, vision_config=vision, image_seq_length=4, **image_ids)
    save_parts(
        folder,
        InternVLForConditionalGeneration(config),
        tokenizer,
        chatml("<IMG_CONTEXT>{{ '\n' }}"),
        processor={"processor_class": "InternVLProcessor", "image_seq_length": 4},
        image={"image_processor_type": "GotOcr2ImageProcessorFast", "size": SQUARE, "crop_to_patches": True},
        video={"video_processor_type": "InternVLVideoProcessor", "size": SQUARE},
    )


def one_vision(folder: Path, most: int = 9) -> None:
    """LLaVA-OneVision: the whole image, then squares of it, whose rows end with a newline token; those of a grid of
    more than `most` squares are reduced."""
    tokenizer = byte_tokenizer([*CHATML, "<image>", "<video>"], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>")
    grids = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    image_ids = ids(tokenizer, image_token_index="<image>", video_token_index="<video>")
    config = LlavaOnevisionConfig(text_config=text, vision_config=SIGLIP, image_grid_pinpoints=grids, **image_ids)
    config.vision_aspect_ratio = f"anyres_max_{most}"
    save_parts(
        folder,
        LlavaOnevisionForConditionalGeneration(config),
        tokenizer,
        chatml("<image>{{ '\n' }}"),
        processor={
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": 16,
            "vision_aspect_ratio": f"anyres_max_{most}",
            "vision_feature_select_strategy": "full",
        },
        image={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": SQUARE,
            "image_grid_pinpoints": grids,
        },
        video={"video_processor_type": "LlavaOnevisionVideoProcessor", "size": SQUARE},
    )


def idefics_parts(name: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(tokenizer, settings of the configuration, settings of the image processor) of Idefics3 and SmolVLM."""
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ["<|endoftext|>", "<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer = byte_tokenizer(
        [*special, "<global-img>", *places],
        begin="<|im_start|>",
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|endoftext|>",
    )
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|im_start|>", eos_token_id="<end_of_utterance>", pad_token_id="<|endoftext|>")
    settings = {"text_config": text, "vision_config": VISION, **ids(tokenizer, image_token_id="<image>")}
    image = {
        "image_processor_type": f"{name}ImageProcessor",
        "size": {"longest_edge": 2 * SIDE},
        "max_image_size": {"longest_edge": SIDE},
        "do_image_splitting": True,
    }
    return tokenizer, settings, image


IDEFICS_CHAT = chat(
    begin="<|im_start|>",
    turn="{{ message['role'] | capitalize }}:",
    image="<image>",
    end="<end_of_utterance>\n",
    answer="{{ 'Assistant:' }}",
)


def idefics_3(folder: Path) -> None:
    """Idefics3: squares of an image with their places in words, then all of it."""
    tokenizer, settings, image = idefics_parts("Idefics3")
    save_parts(
        folder,
        Idefics3ForConditionalGeneration(Idefics3Config(**settings)),
        tokenizer,
        IDEFICS_CHAT,
        processor={"processor_class": "Idefics3Processor", "image_seq_len": 4},
        image=image,
    )


def smol_vlm(folder: Path) -> None:
    """SmolVLM."""
    tokenizer, settings, image = idefics_parts("SmolVLM")
    save_parts(
        folder,
        SmolVLMForConditionalGeneration(SmolVLMConfig(**settings)),
        tokenizer,
        IDEFICS_CHAT,
        processor={"processor_class": "SmolVLMProcessor", "image_seq_len": 4},
        image=image,
        video={"video_processor_type": "SmolVLMVideoProcessor", "size": {"longest_edge": SIDE}},
    )


GEMMA_CHAT = chat(
    begin="{{ bos_token }}",
    turn="<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n",
    image="<start_of_image>",
    end="<end_of_turn>\n",
    answer="<start_of_turn>model\n",
)
GEMMA_TEXT = {**SMALL_TEXT, "head_dim": 8, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
# Two kinds of layers in turn; few positions fit into a window.
GEMMA_WINDOWS = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2)}
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
GEMMA_NAMED = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}


def gemma_3(folder: Path) -> None:
    """Gemma 3: the tokens of an image attend to each other in both directions."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = byte_tokenizer(
        [*GEMMA_SPECIAL, "<start_of_turn>", "<end_of_turn>", *named.values()],
        begin="<bos>",
        extra_special_tokens=named,
        **GEMMA_NAMED,
    )
    text = {**GEMMA_TEXT, **GEMMA_WINDOWS, "query_pre_attn_scalar": 8, "vocab_size": len(tokenizer)}
    text_ids = ids(
        tokenizer,
        image_token_index="<image_soft_token>",
        boi_token_index="<start_of_image>",
        eoi_token_index="<end_of_image>",
    )
    config = Gemma3Config(text_config=text, vision_config=SIGLIP, mm_tokens_per_image=4, **text_ids)
    save_parts(
        folder,
        Gemma3ForConditionalGeneration(config),
        tokenizer,
        GEMMA_CHAT,
        processor={"processor_class": "Gemma3Processor", "image_seq_length": 4},
        image={"image_processor_type": "Gemma3ImageProcessor", "size": SQUARE, "do_pan_and_scan": None},
    )


def gemma_4(folder: Path, shared: int = 0) -> None:
    """Gemma 4: each layer reads embeddings of its own; its hub has all settings in one file. The last `shared` layers
    attend with keys of earlier ones."""
    named = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    tokenizer = byte_tokenizer(
        [*GEMMA_SPECIAL, "<|turn>", "<turn|>", "<|video|>", *named.values()],
        begin="<bos>",
        extra_special_tokens=named,
        **GEMMA_NAMED,
    )
    text = {**GEMMA_TEXT, **GEMMA_WINDOWS, "global_head_dim": 8, "vocab_size": len(tokenizer)}
    text |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": len(tokenizer)}
    text["num_kv_shared_layers"] = shared
    vision = {**SMALL_VISION, "num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 64}
    token_ids = ids(
        tokenizer,
        image_token_id="<|image|>",
        boi_token_id="<|image>",
        eoi_token_id="<image|>",
        video_token_id="<|video|>",
        audio_token_id="<|audio|>",
        boa_token_id="<|audio>",
        eoa_token_index="<audio|>",
    )
    config = Gemma4Config(text_config=text, vision_config=vision, audio_config=None, **token_ids)
    pixels = {"max_soft_tokens": 70, "patch_size": 16, "pooling_kernel_size": 3}
    save_parts(
        folder,
        Gemma4ForConditionalGeneration(config),
        tokenizer,
        chat(
            begin="{{ bos_token }}",
            turn="<|turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n",
            image="{{ '\n\n<|image|>\n\n' }}",
            end="<turn|>\n",
            answer="<|turn>model\n",
        ),
        processor={
            "processor_class": "Gemma4Processor",
            "image_seq_length": 70,
            "audio_seq_length": 750,
            "image_processor": {"image_processor_type": "Gemma4ImageProcessor", **pixels},
            "video_processor": {"video_processor_type": "Gemma4VideoProcessor", **pixels},
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 128},
        },
    )


def pali_gemma(folder: Path) -> None:
    """PaliGemma: all of the prompt attends in both directions; its processor ends the text with a line break."""
    tokenizer = byte_tokenizer([*GEMMA_SPECIAL, "<image>"], begin="<bos>", **GEMMA_NAMED)
    text = {**GEMMA_TEXT, "model_type": "gemma", "vocab_size": len(tokenizer)}
    shape = {"projection_dim": WIDTH, "hidden_size": WIDTH, "vocab_size": len(tokenizer)}
    config = PaliGemmaConfig(
        text_config=text, vision_config=SIGLIP, **shape, **ids(tokenizer, image_token_index="<image>")
    )
    save_parts(
        folder,
        PaliGemmaForConditionalGeneration(config),
        tokenizer,
        None,
        processor={"processor_class": "PaliGemmaProcessor"},
        image={"image_processor_type": "SiglipImageProcessor", "size": SQUARE, "image_seq_length": 16},
    )
    (folder / "mine.jinja").write_text(chat(turn="", image="<image>", end="", answer=""))


TILES: dict[str, Family] = {
    "InternVL": Family(intern_vl),
    "LLaVA-OneVision": Family(one_vision),
    "LLaVA-OneVision, reduced": Family(partial(one_vision, most=2)),
    "Idefics3": Family(idefics_3),
    "SmolVLM": Family(smol_vlm),
    "Gemma 3": Family(gemma_3),
    "Gemma 4": Family(gemma_4),
    "PaliGemma": Family(pali_gemma, template="folder"),
}
