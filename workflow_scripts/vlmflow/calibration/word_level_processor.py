"""A LLaVA processor for models of this library: one token per word, CLIP's image processing, a template like
Vicuna's."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<image>")
TEMPLATE_WORDS = ("USER", "ASSISTANT", ":")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}USER: "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% else %} ASSISTANT: {{ message.content[0].text }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def word_level_processor(words: Iterable[str], side: int, patch: int, **images: Any) -> LlavaProcessor:
    """A processor with the vocabulary `words`, for images of `side` × `side` pixels in patches of `patch`.

    `images` overrides settings of the image processing, such as image_mean.
    """
    vocabulary = dict.fromkeys((*SPECIAL, *TEMPLATE_WORDS, *words))
    tokens = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    start = SPECIAL.index("<s>")
    tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        padding_side="left",
        model_max_length=1024,
    )
    size = {"height": side, "width": side}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(**({"size": {"shortest_edge": side}, "crop_size": size} | images)),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
