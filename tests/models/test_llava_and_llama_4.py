"""Llama 4's parts, which are there where its images cannot be cut; and what processors and configurations call the same
token."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import Llama4ForConditionalGeneration
from transformers.models.llama4.modeling_llama4 import Llama4TextDecoderLayer

from support.compared_families import assert_equal_to_plain, loaded, one_thread, prompt_of  # noqa: F401 (a fixture)
from support.families.base import LAYERS, QUESTION, randomised
from support.families.llavas import LLAVAS
from support.families.torchvision_only import llama_4_parts
from vlmflow import load_model
from vlmflow.engine.modules import find_decoder, find_layers, find_norm
from vlmflow.errors import ModelError, ProcessorMismatchError
from vlmflow.models.agreement import complete_processor
from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.build import Prompt


def test_a_token_that_the_processor_never_writes_is_refused(tmp_path):
    LLAVAS["LLaVA"].build(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_token_index": 3}))
    with pytest.raises(ModelError, match=r"image token is 3 \('<pad>'\), but the processor writes '<image>'"):
        load_model(tmp_path, device="cpu")


def test_the_patch_token_is_the_one_that_the_processor_writes(llama_4):
    tokenizer, model = llama_4
    both = {"tokenizer": tokenizer, "image_token": "<|image|>"}
    complete_processor(SimpleNamespace(**both, img_patch_token="<|patch|>"), model.config, "")
    with pytest.raises(ProcessorMismatchError, match=r"'<\|patch\|>'.*the processor writes '<\|image\|>'"):
        complete_processor(SimpleNamespace(**both), model.config, "")


@pytest.fixture(scope="module")
def llama_4():
    tokenizer, config = llama_4_parts()
    return tokenizer, randomised(Llama4ForConditionalGeneration(config)).double().eval()


def test_the_modules_of_llama_4_are_found(llama_4):
    _, model = llama_4
    layers = find_layers(model)
    assert len(layers) == LAYERS
    assert all(isinstance(layer, Llama4TextDecoderLayer) for layer in layers)
    assert find_decoder(model) is model.language_model.model
    assert find_norm(model) is model.language_model.model.norm


def test_llama_4_without_its_processor_equals_the_plain_method(llama_4):
    """Without its processor, which needs torchvision: four tokens of one square, and a question."""
    tokenizer, model = llama_4
    before, after = "<|begin_of_text|><|image_start|><|image|>", "<|image_end|>"
    text = f"{before}{'<|patch|>' * 4}{after}{QUESTION}<|eot|>"
    tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    image = (tokens[0] == model.config.image_token_id).nonzero().flatten()
    last = tokens.shape[1] - 1
    segments = {"image": image, "question": torch.arange(int(image[-1]) + 2, last), "last": torch.tensor([last])}
    pixels = torch.randn(1, 3, 56, 56, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    prompt = Prompt({"input_ids": tokens, "pixel_values": pixels}, text, segments)
    vlm = VisionLanguageModel(model, SimpleNamespace(tokenizer=tokenizer))
    # Its positions turn in single precision, whatever the weights are in.
    assert_equal_to_plain(vlm, prompt, 1e-7)
