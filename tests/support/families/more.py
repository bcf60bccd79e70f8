"""Further families, of none of the other files' kinds; and the list of these and of those in `families_grids_more` and
`families_tiles_more`."""

from pathlib import Path

from transformers import (
    Dots3NoteConfig,
    GitConfig,
    GitForCausalLM,
    GraniteDoclingConfig,
    GraniteDoclingForConditionalGeneration,
    Qwen4ExpConfig,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from support.families.base import LAYERS, SMALL_TEXT, SMALL_VISION, WIDTH, Family, byte_tokenizer, chat, ids, save_parts
from support.families.grids_more import MORE_GRIDS
from support.families.tiles import SIDE, SQUARE, VISION, chatml
from support.families.tiles_more import CLIP, MORE_TILES, chatml_tokenizer, next_video


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


# Of these it is known where their tokens lie on the image.
MORE_LLAVAS: dict[str, Family] = {
    "LLaVA-NeXT-Video": Family(next_video),
    "Video-LLaVA": Family(video_llava),
}
MORE: dict[str, Family] = {
    "Granite Docling": Family(granite_docling, refused_at_record="does not compute its logits as"),
    "GIT": Family(git, template="folder", refused="final norms"),
    "Qwen4": Family(qwen_4, refused="hybrid"),
    "Dots 3": Family(dots_3, refused="hybrid"),
    **MORE_GRIDS,
    **MORE_TILES,
}
