"""Families that are refused for what their decoder does: Granite Docling, GIT, Qwen4 and Dots 3."""

from pathlib import Path

from transformers import (
    Dots3NoteConfig,
    GitConfig,
    GitForCausalLM,
    GraniteDoclingConfig,
    GraniteDoclingForConditionalGeneration,
    Qwen4ExpConfig,
)

from support.families.base import LAYERS, SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts
from support.families.tiles import SIDE, SQUARE, VISION, chatml
from support.families.tiles_more import chatml_tokenizer


def granite_docling(folder: Path) -> None:
    """Granite Docling: numbered squares of an image, then all of it; the logits of its decoder are scaled."""
    places = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    named = {"image_token": "<image>"}
    tokenizer = chatml_tokenizer(named, "<fake_token_around_image>", "<global-img>", *places)
    text = {**SMALL_TEXT, "vocab_size": len(tokenizer)}
    text |= ids(tokenizer, bos_token_id="<|endoftext|>", eos_token_id="<|im_end|>", pad_token_id="<|endoftext|>")
    vision = {**VISION, "scale_factor": 2, "out_hidden_size": WIDTH, "deepstack_visual_indexes": [0]}
    config = GraniteDoclingConfig(text_config=text, vision_config=vision, **ids(tokenizer, image_token_id="<image>"))
    save_parts(
        folder,
        GraniteDoclingForConditionalGeneration(config),
        tokenizer,
        chatml("<image>"),
        processor={"processor_class": "GraniteDoclingProcessor", "image_seq_len": 4},
        image={"image_processor_type": "GraniteDoclingImageProcessor", "size": SQUARE, "max_patches": 4},
    )


def git(folder: Path) -> None:
    """GIT: the image is put before the prompt, in which nothing stands for it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = byte_tokenizer(special, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    text = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    text |= ids(tokenizer, bos_token_id="[CLS]", eos_token_id="[SEP]", pad_token_id="[PAD]")
    vision = {**SMALL_VISION, "image_size": SIDE, "patch_size": 14}
    save_parts(
        folder,
        GitForCausalLM(GitConfig(**text, vocab_size=len(tokenizer), vision_config=vision)),
        tokenizer,
        None,
        processor={"processor_class": "GitProcessor"},
        image={"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    )
    (folder / "mine.jinja").write_text(chat(turn="", image="", end="", answer=""))


def qwen_4(folder: Path) -> None:
    """Qwen4, experimental: most layers are a recurrence."""
    Qwen4ExpConfig(text_config={"num_hidden_layers": LAYERS}).save_pretrained(folder)


def dots_3(folder: Path) -> None:
    """Dots 3: an indexer chooses what a layer attends to."""
    Dots3NoteConfig().save_pretrained(folder)


REFUSED_DECODERS: dict[str, Family] = {
    "Granite Docling": Family(granite_docling, refused_at_record="does not compute its logits as"),
    "GIT": Family(git, template="folder", refused="git is not measured"),
    "Qwen4": Family(qwen_4, refused="nor a recurrence"),
    "Dots 3": Family(dots_3, refused="nor a recurrence"),
}
