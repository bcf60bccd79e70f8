"""The modules of a layer are found, or the model is refused."""

import pytest
import torch
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeDecoderLayer

from support.paths import random_llava
from vlmflow.engine.modules import find_module
from vlmflow.errors import InterventionError


def test_modules_are_found_or_refused():
    vlm = random_llava()
    layer = vlm.layers[0]
    assert find_module(layer, "attention") is layer.self_attn
    assert find_module(layer, "mlp") is layer.mlp
    with pytest.raises(InterventionError, match="0 modules that may be its mlp"):
        find_module(torch.nn.TransformerEncoderLayer(4, 1), "mlp")
    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
    mixed = Qwen3MoeDecoderLayer(Qwen3MoeConfig(**small, moe_intermediate_size=8, num_experts=2), 0)
    assert find_module(mixed, "attention") is mixed.self_attn
    assert find_module(mixed, "mlp") is mixed.mlp
