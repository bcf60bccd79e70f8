"""Further families whose image is one or several squares, and further ones that are refused by their configuration."""

from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    CohereCompassConfig,
    CohereCompassForConditionalGeneration,
    Glm5NextConfig,
    Granite4VisionConfig,
    Granite4VisionForConditionalGeneration,
    LightOnOcrConfig,
    LightOnOcrForConditionalGeneration,
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    MiniCPMV4_7Config,
    MiniCPMV4_7ForConditionalGeneration,
    PreTrainedTokenizerFast,
    QianfanOCRConfig,
    QianfanOCRForConditionalGeneration,
    T5Gemma2Config,
)

from support.families.base import LAYERS, SMALL_TEXT, SMALL_VISION, Family, byte_tokenizer, chat, ids, save_parts
from support.families.grids import HEAD_WIDTH_8, QWEN_3_VISION
from support.families.hybrids import LINEAR, QWEN_3_5_ROPE
from support.families.llavas import PINPOINTS
from support.families.tiles import CHATML, PATCH, SIDE, SIGLIP, SQUARE, VISION, chatml


def qwen_2_text(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    """A small decoder of Qwen's, which speaks with the tokenizer."""
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer), **more}
    return text | ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>")


def chatml_tokenizer(named: dict[str, str], *more: str) -> PreTrainedTokenizerFast:
    """With tokens that the processor asks for by name."""
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return byte_tokenizer([*CHATML, *named.values(), *more], **ends, extra_special_tokens=named)


def qianfan_ocr(folder: Path) -> None:
    """Qianfan-OCR: InternVL's squares; its template writes an image as another token than those it becomes."""
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = chatml_tokenizer(named, "<image>")
    vision = {**VISION, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}
    image_ids = ids(tokenizer, image_token_id="<IMG_CONTEXT>")
    text = qwen_2_text(tokenizer, model_type="qwen3", head_dim=8)
    config = QianfanOCRConfig(text_config=text, vision_config=vision, image_seq_length=4, **image_ids)
    save_parts(
        folder,
        QianfanOCRForConditionalGeneration(config),
        tokenizer,
        chatml("<image>{{ '\n' }}"),
        processor={"processor_class": "QianfanOCRProcessor", "image_seq_length": 4},
        image={"image_processor_type": "GotOcr2ImageProcessor", "size": SQUARE, "crop_to_patches": True},
    )


def light_on_ocr(folder: Path) -> None:
    """LightOnOCR: Pixtral's image encoder."""
    named = {"image_token": "<|image_pad|>", "image_break_token": "<|vision_pad|>", "image_end_token": "<|vision_end|>"}
    tokenizer = chatml_tokenizer(named)
    vision = {**SMALL_VISION, "model_type": "pixtral", "image_size": 4 * SIDE, "patch_size": PATCH, "head_dim": 8}
    text = qwen_2_text(tokenizer, model_type="qwen3", head_dim=8)
    config = LightOnOcrConfig(text_config=text, vision_config=vision, **ids(tokenizer, image_token_id="<|image_pad|>"))
    size = {"size": {"longest_edge": 140}, "patch_size": {"height": 2 * PATCH, "width": 2 * PATCH}}
    save_parts(
        folder,
        LightOnOcrForConditionalGeneration(config),
        tokenizer,
        chatml("<|image_pad|>"),
        processor={"processor_class": "LightOnOcrProcessor", "patch_size": PATCH, "spatial_merge_size": 2},
        image={"image_processor_type": "PixtralImageProcessor", **size},
    )


def mini_cpm(folder: Path, hybrid: bool = False) -> None:
    """MiniCPM-V 4.6: the whole image, then slices of it; or 4.7, whose decoder is Qwen3.5's."""
    named = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "slice_start_token": "<slice>",
        "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    }
    tokenizer = chatml_tokenizer(named)
    vision = {**SMALL_VISION, "image_size": 8 * PATCH, "patch_size": PATCH, "insert_layer_id": 0}
    token_ids = ids(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>")
    text = qwen_2_text(tokenizer, model_type="qwen3", head_dim=8)
    if hybrid:
        text |= {"model_type": "qwen3_5_text", **LINEAR, "rope_parameters": QWEN_3_5_ROPE}
        text["layer_types"] = ["linear_attention", "full_attention"] * (LAYERS // 2)
    name = f"MiniCPMV4_{7 if hybrid else 6}"
    kind = MiniCPMV4_7Config if hybrid else MiniCPMV4_6Config
    model = MiniCPMV4_7ForConditionalGeneration if hybrid else MiniCPMV4_6ForConditionalGeneration
    config = kind(text_config=text, vision_config=vision, insert_layer_id=0, image_size=8 * PATCH, **token_ids)
    slices = {"scale_resolution": 8 * PATCH, "patch_size": PATCH, "max_slice_nums": 4, "downsample_mode": "16x"}
    save_parts(
        folder,
        model(config),
        tokenizer,
        chatml("<|image_pad|>"),
        processor={"processor_class": f"{name}Processor"},
        image={"image_processor_type": "MiniCPMV4_6ImageProcessor", **slices},
        video={"video_processor_type": "MiniCPMV4_6VideoProcessor", **slices},
    )


def cohere_compass(folder: Path) -> None:
    """Cohere Compass."""
    named = {"image_token": "<|IMAGE_PAD|>", "video_token": "<|VIDEO_PAD|>"}
    tokenizer = chatml_tokenizer(named, "<|VISION_START|>", "<|VISION_END|>")
    rope = {"sliding_attention": HEAD_WIDTH_8, "full_attention": HEAD_WIDTH_8}
    windows = {"sliding_window": 8, "layer_types": list(rope) * (LAYERS // 2)}
    text = {**SMALL_TEXT, **windows, "vocab_size": len(tokenizer), "rope_parameters": rope}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>", pad_token_id="<|endoftext|>")
    token_ids = ids(
        tokenizer,
        image_token_id="<|IMAGE_PAD|>",
        video_token_id="<|VIDEO_PAD|>",
        vision_start_token_id="<|VISION_START|>",
        vision_end_token_id="<|VISION_END|>",
    )
    config = CohereCompassConfig(text_config=text, vision_config=QWEN_3_VISION, **token_ids)
    pixels = {"patch_size": 16, "size": {"shortest_edge": 56 * 56, "longest_edge": 280 * 280}}
    save_parts(
        folder,
        CohereCompassForConditionalGeneration(config),
        tokenizer,
        chatml("<|VISION_START|><|IMAGE_PAD|><|VISION_END|>"),
        processor={"processor_class": "CohereCompassProcessor"},
        image={"image_processor_type": "CohereCompassImageProcessor", **pixels},
        video={"video_processor_type": "CohereCompassVideoProcessor", **pixels},
    )


def granite_4(folder: Path) -> None:
    """Granite Vision: features of inner layers are added in several layers of its decoder, whose logits are scaled."""
    tokenizer = byte_tokenizer(
        ["<|end_of_text|>", "<|pad|>", "<|start_of_role|>", "<|end_of_role|>", "<image>"],
        bos_token="<|end_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<|pad|>",
    )
    text = {**SMALL_TEXT, "vocab_size": len(tokenizer), "logits_scaling": 8.0, "embedding_multiplier": 12.0}
    text |= {"residual_multiplier": 0.22, "attention_multiplier": 0.125}
    text |= ids(tokenizer, bos_token_id="<|end_of_text|>", eos_token_id="<|end_of_text|>", pad_token_id="<|pad|>")
    reader = {"model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 64}
    reader |= {"use_qformer_text_input": False, "cross_attention_frequency": 1}
    vision = {**SIGLIP, "hidden_size": 64}
    config = Granite4VisionConfig(
        text_config=text,
        vision_config=vision,
        qformer_config=reader,
        downsample_rate="2/4",
        deepstack_layer_map=[[-1, 0], [-2, 1]],
        spatial_target_layers=[0, 1, 2, 3],
        vision_feature_select_strategy="full",
        **PINPOINTS,
        **ids(tokenizer, image_token_index="<image>"),
    )
    counting = {"patch_size": PATCH, "vision_feature_select_strategy": "full", "downsample_rate": "2/4"}
    pixels = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE, **PINPOINTS}
    save_parts(
        folder,
        Granite4VisionForConditionalGeneration(config),
        tokenizer,
        chat(
            turn="<|start_of_role|>{{ message['role'] }}<|end_of_role|>",
            image="<image>\n",
            end="<|end_of_text|>\n",
            answer="<|start_of_role|>assistant<|end_of_role|>",
        ),
        processor={"processor_class": "Granite4VisionProcessor", **counting},
        image={"image_processor_type": "LlavaNextImageProcessor", **pixels},
    )


def glm_5(folder: Path) -> None:
    """GLM-5: most layers are a recurrence."""
    Glm5NextConfig(text_config={"num_hidden_layers": LAYERS}).save_pretrained(folder)


def t5_gemma_2(folder: Path) -> None:
    """T5Gemma 2: its encoder reads the image."""
    T5Gemma2Config().save_pretrained(folder)


MORE_TILES: dict[str, Family] = {
    "Qianfan-OCR": Family(qianfan_ocr),
    "LightOnOCR": Family(light_on_ocr),
    "MiniCPM-V 4.6": Family(mini_cpm),
    "MiniCPM-V 4.7": Family(partial(mini_cpm, hybrid=True)),
    "Cohere Compass": Family(cohere_compass),
    "Granite 4 Vision": Family(granite_4, refused_at_record="does not compute its logits as"),
    "GLM-5": Family(glm_5, refused="nor a recurrence"),
    "T5Gemma 2": Family(t5_gemma_2, refused="encoder-decoder"),
}
