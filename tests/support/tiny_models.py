"""Small random models of the paper's architectures, with trained tokenizers, that say one word that they are told.

Their weights are random but for one thing: whatever the question is, the last position's own embedding makes them say
the word.  So they can be right, and a knockout still changes how sure they are.
"""

import json
from itertools import pairwise

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    LlamaConfig,
    LlamaTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlmflow.models.templates import AS_PUBLISHED, CHAT_FOLDER, template_file

PATCH, SIDE = 14, 42  # pixels; nine patches a tile
VOCABULARY = 600
LLAMA_3_WORDS = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def metaspace_tokenizer(texts):
    """As Vicuna's: a space belongs to the word after it, as ▁."""
    tokens = Tokenizer(models.BPE(unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    tokens.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    tokens.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special))
    tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )


def byte_fallback_tokenizer(texts):
    """As Vicuna's too, with bytes for all characters that it does not know, such as newlines; it is a LlamaTokenizer,
    which puts ▁ before a text, but not before what follows a special token in it."""
    tokens = Tokenizer(models.BPE(unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "<pad>", "<image>"]
    trainer = trainers.BpeTrainer(vocab_size=2 * VOCABULARY, special_tokens=special)
    tokens.train_from_iterator([line for text in texts for line in text.splitlines()], trainer)
    learned = json.loads(tokens.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return LlamaTokenizer(
        vocab=learned["vocab"], merges=merges, pad_token="<pad>", additional_special_tokens=["<image>"]
    )


def byte_level_tokenizer(texts):
    """As Llama 3's: bytes, a space before a word belonging to it."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(LLAMA_3_WORDS, "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokens.decoder = decoders.ByteLevel()
    special = [*LLAMA_3_SPECIAL, "<pad>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    tokens.train_from_iterator(texts, trainer)
    start = LLAMA_3_SPECIAL[0]
    tokens.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token=start,
        eos_token="<|eot_id|>",
        pad_token="<pad>",
        additional_special_tokens=[*LLAMA_3_SPECIAL[2:4], "<image>"],
    )


TOKENIZERS = {"vicuna_v1": metaspace_tokenizer, "llava_llama_3": byte_level_tokenizer}


def build_processor(kind, template, texts, side=SIDE, tokenizer=None):
    """`kind` is llava (resized and cropped) or llava_next (any resolution); `tokenizer` makes one of texts."""
    chat = template_file(template).read_text()
    tokenizer = (tokenizer or TOKENIZERS[AS_PUBLISHED.get(template, template)])(
        [*texts, "\n", " \n", "\n\n", "USER: ASSISTANT:", chat]
    )
    images = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    shared = {
        "tokenizer": tokenizer,
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "chat_template": chat,
    }
    if kind == "llava":
        return LlavaProcessor(image_processor=CLIPImageProcessorPil(**images), **shared)
    grids = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]
    return LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(**images, image_grid_pinpoints=grids), **shared
    )


def decoder_config(tokenizer, layers):
    """Of a small Llama that speaks with the tokenizer."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_model(kind, processor, answer, seed=0, layers=3):
    """A random model of the kind that says `answer`."""
    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = decoder_config(tokenizer, layers)
    settings = {"vision_config": vision, "text_config": text, "image_token_id": processor.image_token_id}
    torch.manual_seed(seed)
    if kind == "llava":
        model = LlavaForConditionalGeneration(LlavaConfig(**settings))
    else:
        grids = processor.image_processor.image_grid_pinpoints
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(**settings, image_grid_pinpoints=grids))
    randomise(model)
    say(model, tokenizer, answer, processor)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@torch.no_grad()
def randomise(model):
    """Weights that are large enough for everything to matter."""
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 1.0)


@torch.no_grad()
def say(model, tokenizer, answer, processor, last=None, loud=6):
    """Chain the last token of the prompt to the answer's tokens, and these to the end."""
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": "?"}]}], add_generation_prompt=True
    )
    last = tokenizer(prompt).input_ids[-1] if last is None else last
    chain = [last, *tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    embeddings, unembedding = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    # Random layers add up; what is planted has to stand out of them.
    strength = loud * max(1, model.config.get_text_config().num_hidden_layers / 3)
    for before, after in pairwise(chain):
        direction = torch.nn.functional.normalize(torch.randn(embeddings.shape[1]), dim=0)
        embeddings[before] = strength * direction
        unembedding[after] = 1.6 * direction


def save(folder, kind, template, texts, answer, seed=0, layers=3):
    """Write a model and its processor as `save_pretrained` does."""
    processor = build_processor(kind, template, texts)
    build_model(kind, processor, answer, seed, layers).save_pretrained(folder)
    processor.save_pretrained(folder)


def build_instructblip(texts, answer, seed=0, layers=3, tokens=4):
    """(model, processor) a random InstructBLIP with `tokens` query tokens, that says `answer`."""
    # Its own tokenizer says where the end is; the query transformer reads words with another one.
    tokenizer = metaspace_tokenizer([*texts, "?"])
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "what": 3, "which": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    reader = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[UNK]")
    processor = InstructBlipProcessor(
        image_processor=BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        qformer_tokenizer=reader,
        num_query_tokens=tokens,
    )
    processor.chat_template = (CHAT_FOLDER / "plain.jinja").read_text()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(**small, image_size=SIDE, patch_size=PATCH).to_dict(),
        qformer_config=InstructBlipQFormerConfig(**small, vocab_size=5, encoder_hidden_size=16).to_dict(),
        text_config=decoder_config(tokenizer, layers).to_dict(),
        num_query_tokens=tokens,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(seed)
    model = InstructBlipForConditionalGeneration(config)
    randomise(model)
    say(model, tokenizer, answer, processor)
    model.language_model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.language_model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


def save_instructblip(folder, texts, answer, **settings):
    """Write it as `save_pretrained` does; as the published one, it has no conversation template of its own."""
    model, processor = build_instructblip(texts, answer, **settings)
    model.save_pretrained(folder)
    processor.chat_template = None
    processor.save_pretrained(folder)
