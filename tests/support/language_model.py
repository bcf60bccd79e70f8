"""A small language model, saved as the hub has them."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from support import tiny_models
from vlmflow.models.processor import TextProcessor


def save_language_model(folder, texts, own_template=False, answer=None, layers=3):
    """A small Llama, as `save_pretrained` writes it, which has never seen an image and may say one answer to all."""
    chat = (tiny_models.CHAT_FOLDER / "vicuna_v1.jinja").read_text()
    tokenizer = tiny_models.metaspace_tokenizer([*texts, chat])
    if own_template:
        tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %} answer:"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = LlamaForCausalLM(config)
    if answer is not None:
        tiny_models.randomise(model)
        tiny_models.say(model, tokenizer, answer, TextProcessor(tokenizer, chat))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
