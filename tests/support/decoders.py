"""Small random language models of several architectures."""

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
DECODERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "mistral, sliding window": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=5)),
    "qwen 2": lambda: Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in SMALL.items() if k != "head_dim"})),
    "qwen 3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL)),
    "gemma 2, capped scores": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SMALL, sliding_window=5, attn_implementation="eager")
    ),
    "gemma 3, alternating windows": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, sliding_window=5)),
}


def random_decoder(name):
    """With weights that are large enough for everything to matter."""
    torch.manual_seed(0)
    model = DECODERS[name]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    return model
