"""Families made to draw images too, or that read them with several encoders: Chameleon, Emu3, Janus, DeepSeek-VL, and
GOT-OCR2."""

from pathlib import Path
from typing import Any

from transformers import (
    ChameleonConfig,
    ChameleonForConditionalGeneration,
    DeepseekVLConfig,
    DeepseekVLForConditionalGeneration,
    DeepseekVLHybridConfig,
    DeepseekVLHybridForConditionalGeneration,
    Emu3Config,
    Emu3ForConditionalGeneration,
    GotOcr2Config,
    GotOcr2ForConditionalGeneration,
    JanusConfig,
    JanusForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from support.families.base import SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts

SIDE, PATCH = 64, 16  # pixels: sixteen patches
SQUARE = {"height": SIDE, "width": SIDE}
VISION: dict[str, Any] = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH}
SIGLIP = {**VISION, "model_type": "siglip_vision_model"}
SAM = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "mlp_dim": 32, "output_channels": 8}
DEEPSEEK_CHAT = chat(
    begin="You are a helpful assistant.\n\n",
    turn="{{ 'User: ' }}",
    image="<image_placeholder>{{ '\n' }}",
    end="{{ '\n\n' }}",
    answer="{{ 'Assistant:' }}",
)


def chameleon(folder: Path) -> None:
    """Chameleon: each patch of an image is a word of its vocabulary, which it is kept from saying."""
    drawn = [f"IMGIMG{''.join(chr(ord('A') + int(digit)) for digit in f'{number:04d}')}Z" for number in range(16)]
    tokenizer = byte_tokenizer(
        ["<s>", "<pad>", "</s>", "<unk>", "<racm3:break>", "<eoss>", "<image>", "<reserved08706>", *drawn],
        begin="<s>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        sep_token="<reserved08706>",
        extra_special_tokens={"image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>"},
    )
    pixels = {"embed_dim": 8, "latent_channels": 8, "num_embeddings": 16, "base_channels": 32, "num_res_blocks": 1}
    pixels |= {"resolution": SIDE, "channel_multiplier": [1, 1, 1, 1, 2]}
    config = ChameleonConfig(
        **SMALL_TEXT,
        vq_config=pixels,
        vocab_size=len(tokenizer),
        vocabulary_map=tokenizer.get_vocab(),
        **ids(tokenizer, bos_token_id="<s>", eos_token_id="</s>", pad_token_id="<pad>"),
    )
    save_parts(
        folder,
        ChameleonForConditionalGeneration(config),
        tokenizer,
        None,
        processor={"processor_class": "ChameleonProcessor", "image_seq_length": 16, "image_token": "<image>"},
        image={"image_processor_type": "ChameleonImageProcessor", "size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    )
    (folder / "mine.jinja").write_text(chat(turn="", image="<image>", end="", answer=""))


def emu_3(folder: Path) -> None:
    """Emu3: as Chameleon; the image's size stands before it, and each of its rows ends with a token."""
    named = {
        "image_token": "<image>",
        "boi_token": "<|image start|>",
        "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>",
        "eof_token": "<|extra_201|>",
    }
    drawn = [f"<|visual token {number:06d}|>" for number in range(16)]
    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|extra_203|>", "<|extra_204|>", "<|extra_200|>", *named.values(), *drawn],
        bos_token="<|extra_203|>",
        eos_token="<|extra_204|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named,
    )
    text = SMALL_TEXT | ids(tokenizer, bos_token_id="<|extra_203|>", eos_token_id="<|extra_204|>")
    text |= ids(tokenizer, pad_token_id="<|endoftext|>")
    pixels = {"codebook_size": 16, "base_channels": 32, "num_res_blocks": 1, "hidden_size": 32}
    pixels |= {"channel_multiplier": [1, 1, 1, 1], "attn_resolutions": []}
    config = Emu3Config(
        vq_config=pixels,
        text_config={**text, "vocab_size": len(tokenizer)},
        vocabulary_map=tokenizer.get_vocab(),
    )
    save_parts(
        folder,
        Emu3ForConditionalGeneration(config),
        tokenizer,
        chat(
            begin="You are a helpful assistant.",
            turn="{{ ' ' + message['role'] | upper + ': ' }}",
            image="<image>",
            end="",
            answer="{{ ' ASSISTANT:' }}",
        ),
        processor={"processor_class": "Emu3Processor"},
        image={"image_processor_type": "Emu3ImageProcessor", "min_pixels": 32 * 32, "max_pixels": 48 * 48},
    )


def deepseek_tokenizer(**named: str) -> PreTrainedTokenizerFast:
    """With the special tokens of Janus and DeepSeek-VL."""
    begin, end = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    return byte_tokenizer(
        [begin, end, *named.values()],
        begin=begin,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        extra_special_tokens=named,
    )


def deepseek_text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Their decoder, small."""
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return {**SMALL_TEXT, **ends, "model_type": "llama", "vocab_size": len(tokenizer)}


def janus(folder: Path) -> None:
    """Janus: one encoder to read images, and a vocabulary to draw them."""
    named = {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = deepseek_tokenizer(**named)
    vision = {**VISION, "projection_dim": WIDTH, "num_image_tokens": 16, "mlp_ratio": 2.0}
    drawing = {"embed_dim": 8, "num_embeddings": 16, "latent_channels": 32, "base_channels": 32, "num_res_blocks": 1}
    drawing |= {"channel_multiplier": [1, 1], "projection_dim": WIDTH, "image_token_embed_dim": WIDTH}
    config = JanusConfig(
        text_config=deepseek_text(tokenizer),
        vision_config=vision,
        vq_config=drawing,
        **ids(tokenizer, image_token_id="<image_placeholder>"),
    )
    save_parts(
        folder,
        JanusForConditionalGeneration(config),
        tokenizer,
        DEEPSEEK_CHAT,
        processor={"processor_class": "JanusProcessor", "num_image_tokens": 16},
        image={"image_processor_type": "JanusImageProcessor", "size": SQUARE},
    )


def deepseek_vl(folder: Path) -> None:
    """DeepSeek-VL."""
    tokenizer = deepseek_tokenizer(image_token="<image_placeholder>")
    image_ids = ids(tokenizer, image_token_id="<image_placeholder>")
    config = DeepseekVLConfig(text_config=deepseek_text(tokenizer), vision_config=SIGLIP, **image_ids)
    save_parts(
        folder,
        DeepseekVLForConditionalGeneration(config),
        tokenizer,
        DEEPSEEK_CHAT,
        processor={"processor_class": "DeepseekVLProcessor", "num_image_tokens": 16},
        image={"image_processor_type": "DeepseekVLImageProcessor", "size": SQUARE},
    )


def deepseek_vl_hybrid(folder: Path) -> None:
    """DeepSeek-VL with a second encoder, which reads the image at a higher resolution."""
    tokenizer = deepseek_tokenizer(image_token="<image_placeholder>")
    high = {**SAM, "model_type": "sam_vision_model", "image_size": 256, "patch_size": 16, "global_attn_indexes": [0, 1]}
    config = DeepseekVLHybridConfig(
        text_config=deepseek_text(tokenizer),
        vision_config=SIGLIP,
        high_res_vision_config=high,
        **ids(tokenizer, image_token_id="<image_placeholder>"),
    )
    sizes = {"size": SQUARE, "high_res_size": {"height": 256, "width": 256}}
    save_parts(
        folder,
        DeepseekVLHybridForConditionalGeneration(config),
        tokenizer,
        DEEPSEEK_CHAT,
        processor={"processor_class": "DeepseekVLHybridProcessor", "num_image_tokens": 16},
        image={"image_processor_type": "DeepseekVLHybridImageProcessor", **sizes},
    )


def got_ocr_2(folder: Path) -> None:
    """GOT-OCR2: its image encoder cannot compute its attention as the decoder does."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<imgpad>"]
    tokenizer = byte_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    text = {**SMALL_TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>")
    vision = {**SAM, "image_size": 256, "patch_size": 4, "window_size": 8, "global_attn_indexes": []}
    image_ids = ids(tokenizer, image_token_index="<imgpad>")
    config = GotOcr2Config(text_config=text, vision_config=vision, image_seq_length=256, **image_ids)
    save_parts(
        folder,
        GotOcr2ForConditionalGeneration(config),
        tokenizer,
        None,
        processor={"processor_class": "GotOcr2Processor"},
        image={"image_processor_type": "GotOcr2ImageProcessor", "size": {"height": 256, "width": 256}},
    )
    turns = chat(
        turn="<|im_start|>{{ message['role'] }}\n",
        image="<img><imgpad></img>\n",
        end="<|im_end|>\n",
        answer="<|im_start|>assistant\n",
    )
    (folder / "mine.jinja").write_text(turns)


VOCABULARIES: dict[str, Family] = {
    "Chameleon": Family(
        chameleon,
        template="folder",
        no_patches="no pixel reaches an image token",
        refused_at_record="does not compute its logits as",
    ),
    "Emu3": Family(emu_3, no_patches="no pixel reaches an image token except through attention"),
    "Janus": Family(janus),
    "DeepSeek-VL": Family(deepseek_vl),
    "DeepSeek-VL-Hybrid": Family(deepseek_vl_hybrid, no_patches="reach several image tokens each"),
    "GOT-OCR2": Family(got_ocr_2, template="folder", no_patches="reach several image tokens each"),
}
