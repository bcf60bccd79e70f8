"""The lens of half-precision models: the product with the unembedding is made in float32, whatever else is not."""

import copy

import pytest
import torch
from accelerate import disk_offload
from PIL import Image
from torch import nn
from torch.overrides import TorchFunctionMode

from support.paths import random_llava
from vlmflow.engine import float32_products
from vlmflow.engine.float32_products import Float32Products
from vlmflow.prompts.build import Patches

IMAGE = Image.new("RGB", (8, 8), "red")
QUESTION = "is the circle red or blue ?"
HALF = [torch.bfloat16, torch.float16]


class Multiplied(TorchFunctionMode):
    """How many rows of a float32 weight each linear map had."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is nn.functional.linear and args[1].dtype == torch.float32:
            self.rows.append(len(args[1]))
        return func(*args, **(kwargs or {}))


def probability_of(vlm, states, word="red"):
    """Of the word's first token, from states as the unembedding is given them, all of it in float32."""
    token = vlm.processor.tokenizer(word, add_special_tokens=False).input_ids[0]
    with torch.inference_mode():
        return (states.float() @ vlm.unembedding.weight.float().T).softmax(-1)[:, token]


@pytest.mark.parametrize("dtype", HALF)
def test_the_lens_makes_its_product_in_float32(dtype, monkeypatch):
    monkeypatch.setattr(float32_products, "ROWS", 7)
    vlm = random_llava(dtype=dtype, width=64)
    prompt = vlm.prompt(IMAGE, QUESTION)
    states = vlm.record(prompt).hidden(-1)
    with torch.inference_mode():
        normed, last = vlm.norm(states), vlm.norm(states[-1:])
    for final_norm, read in ((False, torch.cat([states[:-1], last])), (True, normed)):
        measured = torch.tensor(vlm.lens(prompt, {"word": "red"}, final_norm)["probability"].to_list())
        expected = probability_of(vlm, read)
        assert measured.numpy() == pytest.approx(expected.numpy(), rel=1e-6, abs=1e-7)
        with torch.inference_mode():
            rounded = vlm.unembedding(read).float().softmax(-1)
        token = vlm.processor.tokenizer("red", add_special_tokens=False).input_ids[0]
        # What the model's own dtype makes of it is another number.
        assert (rounded[:, token] / expected - 1).abs().max() > 1e-4


def test_the_lens_on_image_tokens_makes_its_product_in_float32():
    vlm = random_llava(dtype=torch.bfloat16, width=64)
    states = vlm.record(vlm.prompt(IMAGE, QUESTION)).hidden(-1)
    wide = vlm.read(states, lambda logits: logits, in_float32=True)
    with torch.inference_mode():
        expected = vlm.norm(states).float() @ vlm.unembedding.weight.float().T
    assert torch.allclose(wide, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(vlm.read(states, lambda logits: logits), expected, rtol=1e-5, atol=1e-6)


def test_a_knockout_keeps_the_models_own_dtype():
    vlm = random_llava(dtype=torch.bfloat16, width=64)
    prompt = vlm.prompt(IMAGE, QUESTION, patches=Patches(4, [0]))
    with torch.inference_mode():
        logits = vlm.unembedding(vlm.norm(vlm.record(prompt).output[0, -1]))
    assert logits.dtype == torch.bfloat16
    measured = vlm.knockout(prompt, ["image -> question"], 1)["p_base"][0]
    assert measured == pytest.approx(logits.float().softmax(-1).max().item(), rel=1e-6)


def test_weights_on_disk_are_loaded_for_the_float32_product(tmp_path):
    vlm = random_llava(dtype=torch.bfloat16, width=64)
    prompt = vlm.prompt(IMAGE, QUESTION)
    expected = vlm.lens(prompt, {"word": "red"})["probability"].to_list()
    away = copy.deepcopy(vlm)
    disk_offload(away.model, tmp_path / "disk", execution_device=torch.device("cpu"))
    assert away.unembedding.weight.is_meta
    assert away.lens(prompt, {"word": "red"})["probability"].to_list() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [1, 5, 12, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_every_row_is_multiplied_once_and_no_more_than_some_at_a_time(rows, bias, monkeypatch):
    monkeypatch.setattr(float32_products, "ROWS", rows)
    linear = nn.Linear(8, 12, bias=bias, dtype=torch.float16)
    states = torch.randn(2, 3, 8).half()
    with Multiplied() as multiplied, Float32Products(), torch.inference_mode():
        product = linear(states)
    assert sum(multiplied.rows) == 12
    assert max(multiplied.rows) <= rows
    expected = copy.deepcopy(linear).float()(states.float())
    assert product.dtype == torch.float32
    assert torch.allclose(product, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_weights_stay_as_they_are(dtype):
    linear, states = nn.Linear(8, 12, dtype=dtype), torch.randn(3, 8, dtype=dtype)
    with Float32Products():
        product = linear(states)
    assert product.dtype == dtype
    assert torch.equal(product, linear(states))
