"""Families whose image becomes query tokens, which each see all of it; and older ones that are refused, since they read
images in another way than as tokens of a decoder's prompt."""

from pathlib import Path
from typing import Any

from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipConfig,
    BlipForConditionalGeneration,
    Florence2Config,
    Florence2ForConditionalGeneration,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from support.families.base import SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts

SIDE, PATCH = 56, 14  # pixels: sixteen patches
SQUARE = {"height": SIDE, "width": SIDE}
VISION: dict[str, Any] = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH}
READER = {**SMALL_VISION, "vocab_size": 300, "encoder_hidden_size": 16}
# Their hubs have no conversation template; as the models were trained.
ASKED = chat(turn="Question: ", image="", end="", answer="{{ ' Answer:' }}")
TEXT_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
TEXT_NAMED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
T5 = {"model_type": "t5", "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 4, "num_heads": 4}


def text_tokenizer(**more: Any) -> PreTrainedTokenizerFast:
    """With special tokens of decoders of the time."""
    return byte_tokenizer(TEXT_SPECIAL, begin="</s>", **(TEXT_NAMED | {"bos_token": "</s>"} | more))


def text_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """What a configuration calls them."""
    return ids(tokenizer, bos_token_id="</s>", eos_token_id="</s>", pad_token_id="<pad>")


def blip_2(folder: Path, text: dict[str, Any]) -> None:
    """BLIP-2, with the decoder's configuration."""
    tokenizer = text_tokenizer()
    config = Blip2Config(
        vision_config=VISION,
        qformer_config=READER,
        text_config={**text, "vocab_size": len(tokenizer), **text_ids(tokenizer)},
        num_query_tokens=5,
        **ids(tokenizer, image_token_index="<image>"),
    )
    save_asked(folder, Blip2ForConditionalGeneration(config), tokenizer, "Blip2")


def save_asked(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Write the model, and its parts as the hub has them: without a conversation template."""
    processor = {"processor_class": f"{name}Processor", "num_query_tokens": 5}
    image = {"image_processor_type": "BlipImageProcessor", "size": SQUARE}
    save_parts(folder, model, tokenizer, None, processor=processor, image=image)
    (folder / "mine.jinja").write_text(ASKED)


def blip_2_opt(folder: Path) -> None:
    """BLIP-2 whose decoder is OPT: its layers lie deeper than others'."""
    sizes = {"hidden_size": WIDTH, "ffn_dim": 2 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4}
    blip_2(folder, {"model_type": "opt", "word_embed_proj_dim": WIDTH, **sizes})


def blip_2_t5(folder: Path) -> None:
    """BLIP-2 whose language model is T5."""
    blip_2(folder, {**T5, "decoder_start_token_id": 1})


def instruct_blip(folder: Path) -> None:
    """InstructBLIP: its queries read the question too."""
    tokenizer = text_tokenizer()
    reader = byte_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"], pad_token="[PAD]", unk_token="[UNK]")
    text = {**SMALL_TEXT, "model_type": "llama", "vocab_size": len(tokenizer), **text_ids(tokenizer)}
    config = InstructBlipConfig(
        vision_config=VISION,
        qformer_config={**READER, "vocab_size": len(reader)},
        text_config=text,
        num_query_tokens=5,
        **ids(tokenizer, image_token_index="<image>"),
    )
    save_asked(folder, InstructBlipForConditionalGeneration(config), tokenizer, "InstructBlip")
    reader.save_pretrained(folder / "qformer_tokenizer")


def florence_2(folder: Path) -> None:
    """Florence-2: BART reads the image."""
    tokenizer = text_tokenizer(extra_special_tokens={"image_token": "<image>"})
    text = {"model_type": "bart", "d_model": WIDTH, "encoder_layers": 4, "decoder_layers": 4}
    text |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    text |= {"vocab_size": len(tokenizer), **text_ids(tokenizer)}
    vision = {"embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2], "depths": [1] * 4}
    vision |= {"projection_dim": WIDTH, "window_size": 4}
    config = Florence2Config(text_config=text, vision_config=vision, **ids(tokenizer, image_token_id="<image>"))
    save_parts(
        folder,
        Florence2ForConditionalGeneration(config),
        tokenizer,
        None,
        processor={"processor_class": "Florence2Processor", "num_additional_image_tokens": 1},
        image={"image_processor_type": "CLIPImageProcessor", "size": SQUARE, "image_seq_length": 4},
    )


def kosmos_2(folder: Path) -> None:
    """Kosmos-2: numbers of ordinary words stand at the positions of an image; a mask says where they are."""
    tags = ["</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>"]
    tokenizer = byte_tokenizer(
        ["<s>", "<pad>", "</s>", "<unk>", *tags, "</delimiter_of_multi_objects/>", "<grounding>"], **TEXT_NAMED
    )
    text = {"embed_dim": WIDTH, "layers": 4, "ffn_dim": 64, "attention_heads": 4, "vocab_size": len(tokenizer) + 4}
    config = Kosmos2Config(text_config=text, vision_config=VISION, latent_query_num=4)
    save_parts(
        folder,
        Kosmos2ForConditionalGeneration(config),
        tokenizer,
        None,
        processor={"processor_class": "Kosmos2Processor", "num_patch_index_tokens": 4},
        image={"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    )
    (folder / "mine.jinja").write_text(ASKED)


def idefics_1(folder: Path) -> None:
    """Idefics, the first: gated layers between those of the decoder read the image."""
    special = ["<unk>", "<s>", "</s>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer = byte_tokenizer(
        special,
        begin="<s>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        additional_special_tokens=special[3:],
    )
    vision = {**SMALL_VISION, "image_size": SIDE, "patch_size": PATCH, "embed_dim": 16}
    text = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = IdeficsConfig(**text, vocab_size=len(tokenizer), vision_config=vision)
    save_parts(
        folder,
        IdeficsForVisionText2Text(config),
        tokenizer,
        chat(
            turn="{{ message['role'] | capitalize }}: ",
            image="<fake_token_around_image><image><fake_token_around_image>",
            end="<end_of_utterance>\n",
            answer="{{ 'Assistant:' }}",
        ),
        processor={"processor_class": "IdeficsProcessor"},
        image={"image_processor_type": "IdeficsImageProcessor", "image_size": SIDE, "image_num_channels": 3},
    )


def blip(folder: Path) -> None:
    """BLIP: its decoder reads the image in every layer."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"]
    tokenizer = byte_tokenizer(special, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    text = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    text |= ids(tokenizer, bos_token_id="[DEC]", eos_token_id="[SEP]", sep_token_id="[SEP]", pad_token_id="[PAD]")
    config = BlipConfig(text_config={**text, "vocab_size": len(tokenizer)}, vision_config=VISION)
    processor = {"processor_class": "BlipProcessor"}
    image = {"image_processor_type": "BlipImageProcessor", "size": SQUARE}
    save_parts(folder, BlipForConditionalGeneration(config), tokenizer, None, processor=processor, image=image)
    (folder / "mine.jinja").write_text(ASKED)


QUERIES: dict[str, Family] = {
    "BLIP-2 with OPT": Family(blip_2_opt, template="folder", no_patches="query tokens"),
    "BLIP-2 with T5": Family(blip_2_t5, refused="encoder-decoder"),
    "InstructBLIP": Family(instruct_blip, template="folder", no_patches="query tokens"),
    "Florence-2": Family(florence_2, refused="encoder-decoder"),
    "Kosmos-2": Family(kosmos_2, template="folder", refused="names no image token"),
    "Idefics": Family(idefics_1, refused="cross-attention"),
    "BLIP": Family(blip, template="folder", refused="cross-attention"),
}
