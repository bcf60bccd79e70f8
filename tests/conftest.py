"""What the tests share: small random models, drawn pictures, and the repository's own demo model."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vlmflow import load_model
from vlmflow.datasets import synthetic
from vlmflow.models import VisionLanguageModel
from vlmflow.word_level import word_level_processor

ROOT = Path(__file__).parents[1]
TINY_LLAVA = ROOT / "resources" / "tiny-llava"

# The same examples in every run, and no deadline: the machines of others are slower or busier.
settings.register_profile(
    "vlmflow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("vlmflow")
torch.set_num_threads(2)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


WORDS = [
    "what",
    "is",
    "the",
    "color",
    "of",
    "a",
    "red",
    "blue",
    "circle",
    "square",
    "to",
    "left",
    "right",
    "in",
    "picture",
    "?",
    ",",
]


def random_llava(layers=3, grid=2, width=16, seed=0, dtype=torch.float64, heads=2, key_heads=1):
    """An untrained LLaVA with `grid`² image tokens and weights large enough that every edge matters."""
    patch = 4
    processor = word_level_processor(WORDS, grid * patch, patch)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=grid * patch,
            patch_size=patch,
        ),
        text_config=LlamaConfig(
            vocab_size=len(processor.tokenizer),
            hidden_size=width,
            intermediate_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
        ),
        image_token_id=processor.image_token_id,
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return VisionLanguageModel(model, processor)


@pytest.fixture(scope="session")
def tiny_llava():
    return load_model(TINY_LLAVA, device="cpu")


@pytest.fixture(scope="session")
def scene():
    """A drawn scene with its picture."""
    scene = synthetic.draw_scene(6, seed=0)
    return scene, synthetic.render(scene)
