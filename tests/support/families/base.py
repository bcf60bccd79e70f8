"""What the tiny random models of vision-language families share; `all.py` lists them.

Each is written as hubs publish its family: configuration and safetensors, tokenizer, conversation template, and the
settings of its processor as JSON.  Nothing here makes a video or sound processor, for which other packages are needed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

QUESTION = "What color is the circle, red or blue?"
SAID = [QUESTION, "user", "assistant", "system", "model", "User:", "Assistant:", "You are a helpful assistant."]
WIDTH, LAYERS, HEADS = 32, 4, 4

# Keyword arguments of the text and vision configurations of most families.
SMALL_TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
}
SMALL_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@dataclass(frozen=True)
class Family:
    """One family of models, as a test builds and measures it.

    Attributes:
        build: writes the model into a folder.
        refused: a word of the message with which loading it is refused.
        needs: a package that it cannot be loaded without, which the message then names.
        template: "own", the name of a template, or "folder": the file mine.jinja that `build` writes.
        tolerance: largest difference between replay and the plain method, relative to the states.
        refused_at_record: a word of the message with which recording a forward is refused.
        no_patches: a word of the reason why its image tokens have no places in the image; None if they have.
    """

    build: Callable[[Path], None]
    refused: str | None = None
    needs: str | None = None
    template: str = "own"
    tolerance: float = 1e-9
    refused_at_record: str | None = None
    no_patches: str | None = None


def byte_tokenizer(special: Sequence[str], begin: str | None = None, **named: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer as trained on the question, with special tokens of the family.

    Args:
        special: all of them, numbered from 0.
        begin: the one that is put before every text.
        named: which is what, such as `eos_token="</s>"`, and further settings of tokenizer_config.json.
    """
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[AddedToken(each, special=True, normalized=False) for each in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokens.train_from_iterator(SAID * 3, trainer)
    if begin:
        tokens.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokens.token_to_id(begin))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokens, **named)


def ids(tokenizer: PreTrainedTokenizerFast, **tokens: str) -> dict[str, int]:
    """The same names with the tokens' numbers."""
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


@torch.no_grad()
def randomised(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """The model with weights that are large enough for everything to matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(drawn * parameter.shape[-1] ** -0.5)
        else:
            parameter.copy_(0.1 * drawn + (0.0 if "bias" in name else 1.0))
    return model


def save_parts(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    template: str | None,
    *,
    processor: dict[str, Any],
    image: dict[str, Any] | None = None,
    video: dict[str, Any] | None = None,
    sound: dict[str, Any] | None = None,
) -> None:
    """Write what a hub has of a model: each part as its own file.

    Args:
        template: the conversation as Jinja; None if the hub has none.
        processor: processor_config.json, with its `processor_class`; newer hubs have all other settings in it too.
        image, video: preprocessor_config.json and video_preprocessor_config.json, where there are such files.
        sound: what preprocessor_config.json says of sound, beside what it says of images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    randomised(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    name = processor["processor_class"]
    write_json(folder / "processor_config.json", processor)
    if image is not None:
        write_json(folder / "preprocessor_config.json", {"processor_class": name, **image, **(sound or {})})
    if video is not None:
        write_json(folder / "video_preprocessor_config.json", {"processor_class": name, **video})
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file as hubs have them."""
    path.write_text(json.dumps(content, indent=2))


def chat(*, turn: str, image: str, end: str, answer: str, begin: str = "") -> str:
    """A conversation template: of each message what stands before it, its parts in their order, and what ends it."""
    parts = (
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + image
        + "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    )
    asked = "{% if add_generation_prompt %}" + answer + "{% endif %}"
    return begin + "{% for message in messages %}" + turn + parts + end + "{% endfor %}" + asked
