"""Further families whose image is one grid of tokens; their image encoders are kin to Qwen's."""

from pathlib import Path
from typing import Any

from transformers import (
    Ernie4_5_VLMoeConfig,
    Ernie4_5_VLMoeForConditionalGeneration,
    Exaone4_5_Config,
    Exaone4_5_ForConditionalGeneration,
    Glm4vMoeConfig,
    Glm4vMoeForConditionalGeneration,
    GlmOcrConfig,
    GlmOcrForConditionalGeneration,
    HunYuanVLConfig,
    HunYuanVLForConditionalGeneration,
    HyperCLOVAXVisionV2Config,
    HyperCLOVAXVisionV2ForConditionalGeneration,
    PaddleOCRVLConfig,
    PaddleOCRVLForConditionalGeneration,
    PreTrainedTokenizerFast,
    VideoLlama3Config,
    VideoLlama3ForConditionalGeneration,
)

from support.families.base import SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts
from support.families.grids import (
    CLIP,
    GLM_CHAT,
    HEAD_WIDTH_8,
    QWEN_CHAT,
    glm_settings,
    glm_tokenizer,
    qwen_ids,
    qwen_text,
    qwen_tokenizer,
)

SIZE = {"shortest_edge": 56 * 56, "longest_edge": 280 * 280}
QWEN_2_5_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
    "window_size": 56,
    "fullatt_block_indexes": [1],
}


def save_grid(
    folder: Path,
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    template: str,
    name: str,
    *,
    kinds: tuple[str, str | None],
    **pixels: Any,
) -> None:
    """Write the model and its parts; `kinds` are the classes of its image and video processors, without an ending."""
    pixels = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "size": SIZE, **CLIP, **pixels}
    image, video = kinds
    save_parts(
        folder,
        model,
        tokenizer,
        template,
        processor={"processor_class": f"{name}Processor"},
        image={"image_processor_type": f"{image}ImageProcessor", **pixels},
        video={"video_processor_type": f"{video}VideoProcessor", **pixels} if video else None,
    )


def glm_4_moe(folder: Path) -> None:
    """GLM-4.5V: GLM-4V with experts."""
    tokenizer = glm_tokenizer()
    settings = glm_settings(tokenizer)
    experts = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    rope = HEAD_WIDTH_8 | {"partial_rotary_factor": 0.5}
    settings["text_config"] |= {**experts, "head_dim": 16, "rope_parameters": rope}
    model = Glm4vMoeForConditionalGeneration(Glm4vMoeConfig(**settings))
    save_grid(folder, model, tokenizer, GLM_CHAT, "Glm4v", kinds=("Glm4v", "Glm4v"))


def glm_ocr(folder: Path) -> None:
    """GLM-OCR."""
    tokenizer = glm_tokenizer()
    settings = glm_settings(tokenizer)
    model = GlmOcrForConditionalGeneration(GlmOcrConfig(**settings))
    save_grid(folder, model, tokenizer, GLM_CHAT, "Glm46V", kinds=("Glm46V", "Glm46V"))


def exaone_4_5(folder: Path) -> None:
    """EXAONE 4.5: most layers see a window; those that see all know no positions."""
    tokenizer = qwen_tokenizer()
    text = qwen_text(tokenizer, model_type="exaone4", sliding_window=8, sliding_window_pattern=4)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    token_ids = {name: number for name, number in qwen_ids(tokenizer).items() if name.endswith("_token_id")}
    vision = {**QWEN_2_5_VISION, "num_key_value_heads": 1}
    model = Exaone4_5_ForConditionalGeneration(Exaone4_5_Config(text_config=text, vision_config=vision, **token_ids))
    save_grid(folder, model, tokenizer, QWEN_CHAT, "Exaone4_5_", kinds=("Qwen2VL", "Qwen2VL"))


def video_llama_3(folder: Path) -> None:
    """VideoLLaMA3."""
    tokenizer = qwen_tokenizer()
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)}
    token_ids = ids(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>")
    vision = {**SMALL_VISION, "patch_size": 14}
    model = VideoLlama3ForConditionalGeneration(VideoLlama3Config(text_config=text, vision_config=vision, **token_ids))
    kinds = ("VideoLlama3", "VideoLlama3")
    save_grid(folder, model, tokenizer, QWEN_CHAT, "VideoLlama3", kinds=kinds, merge_size=1, temporal_patch_size=1)


def hyper_clova_x(folder: Path) -> None:
    """HyperCLOVA X Vision."""
    tokenizer = qwen_tokenizer()
    text = {**SMALL_TEXT, "model_type": "hyperclovax", "vocab_size": len(tokenizer), "head_dim": 8}
    token_ids = ids(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>")
    vision = {**QWEN_2_5_VISION, "model_type": "qwen2_5_vl_vision"}
    config = HyperCLOVAXVisionV2Config(text_config=text, vision_config=vision, **token_ids)
    model = HyperCLOVAXVisionV2ForConditionalGeneration(config)
    save_grid(folder, model, tokenizer, QWEN_CHAT, "HyperCLOVAXVisionV2", kinds=("Qwen2VL", "Qwen2VL"))


def paddle_ocr(folder: Path) -> None:
    """PaddleOCR-VL."""
    named = {"image_token": "<|IMAGE_PLACEHOLDER|>"}
    special = ["<unk>", "<s>", "</s>", "<|begin_of_sentence|>", "<|IMAGE_START|>", "<|IMAGE_END|>", "<|video_pad|>"]
    tokenizer = byte_tokenizer(
        [*special, *named.values()],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "rope_parameters": HEAD_WIDTH_8}
    text |= ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<unk>")
    token_ids = ids(
        tokenizer,
        image_token_id="<|IMAGE_PLACEHOLDER|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|IMAGE_START|>",
        vision_end_token_id="<|IMAGE_END|>",
    )
    vision = {**SMALL_VISION, "image_size": 84, "patch_size": 14}
    model = PaddleOCRVLForConditionalGeneration(PaddleOCRVLConfig(text_config=text, vision_config=vision, **token_ids))
    turns = chat(
        begin="<|begin_of_sentence|>",
        turn="{{ message['role'] | capitalize }}: ",
        image="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        end="\n",
        answer="{{ 'Assistant:\n' }}",
    )
    kinds = ("PaddleOCRVL", None)
    save_grid(folder, model, tokenizer, turns, "PaddleOCRVL", kinds=kinds, temporal_patch_size=1)


def ernie_4_5(folder: Path) -> None:
    """ERNIE 4.5 VL: experts of their own for the tokens of an image."""
    named = {
        "image_token": "<|IMAGE_PLACEHOLDER|>",
        "image_start_token": "<|IMAGE_START|>",
        "image_end_token": "<|IMAGE_END|>",
        "video_token": "<|VIDEO_PLACEHOLDER|>",
        "video_start_token": "<|VIDEO_START|>",
        "video_end_token": "<|VIDEO_END|>",
    }
    tokenizer = byte_tokenizer(
        ["<unk>", "<s>", "</s>", "<|begin_of_sentence|>", *named.values()],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        extra_special_tokens=named,
    )
    text = {**SMALL_TEXT, "vocab_size": len(tokenizer), "moe_intermediate_size": [16, 16]}
    text |= {"moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1}
    text |= {"rope_parameters": HEAD_WIDTH_8 | {"mrope_section": [1, 1, 2]}}
    text |= ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<unk>")
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 14}
    token_ids = ids(tokenizer, **{f"{name}_id": token for name, token in named.items()})
    config = Ernie4_5_VLMoeConfig(text_config=text, vision_config=vision, **token_ids)
    turns = chat(
        begin="<|begin_of_sentence|>",
        turn="{{ message['role'] | capitalize }}: ",
        image="Image 1:<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        end="\n",
        answer="{{ 'Assistant: ' }}",
    )
    kinds = ("Ernie4_5_VLMoe", "Ernie4_5_VLMoe")
    model = Ernie4_5_VLMoeForConditionalGeneration(config)
    save_grid(folder, model, tokenizer, turns, "Ernie4_5_VLMoe", kinds=kinds, temporal_patch_size=1)


def hun_yuan(folder: Path) -> None:
    """HunYuan-VL: rows of an image end with a token."""
    named = {
        "image_token": "<image>",
        "image_start_token": "<im_start>",
        "image_end_token": "<im_end>",
        "image_newline_token": "<im_newline>",
    }
    tokenizer = byte_tokenizer(
        ["<bos>", "<eos>", "<pad>", "<sep>", "<user>", *named.values()],
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        sep_token="<sep>",
        extra_special_tokens=named,
    )
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 1, 1]}
    text = {**SMALL_TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "rope_parameters": rope}
    text |= ids(tokenizer, bos_token_id="<bos>", eos_token_id="<eos>", pad_token_id="<pad>", sep_token_id="<sep>")
    vision = {**SMALL_VISION, "patch_size": 16, "out_hidden_size": WIDTH, "text_hidden_size": WIDTH}
    vision |= {"max_image_size": 128, "min_image_size": 32}
    token_ids = ids(
        tokenizer,
        image_token_id="<image>",
        im_start_id="<im_start>",
        im_end_id="<im_end>",
        im_newline_id="<im_newline>",
    )
    model = HunYuanVLForConditionalGeneration(HunYuanVLConfig(text_config=text, vision_config=vision, **token_ids))
    turns = chat(begin="<bos>", turn="", image="<im_start><image><im_end>", end="<user>", answer="")
    save_grid(
        folder, model, tokenizer, turns, "HunYuanVL", kinds=("HunYuanVL", None), patch_size=16, temporal_patch_size=1
    )


MORE_GRIDS: dict[str, Family] = {
    # What its router computes, it computes in float32.
    "GLM-4.5V": Family(glm_4_moe, tolerance=1e-6),
    "GLM-OCR": Family(glm_ocr),
    "EXAONE 4.5": Family(exaone_4_5),
    "VideoLLaMA3": Family(video_llama_3),
    "HyperCLOVA X Vision": Family(hyper_clova_x),
    "PaddleOCR-VL": Family(paddle_ocr),
    "ERNIE 4.5 VL": Family(ernie_4_5),
    "HunYuan-VL": Family(hun_yuan),
}
