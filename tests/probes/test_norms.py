"""Norms of the image encoder's features, against the encoder's own states, and the sinks among them."""

import polars as pl
import pytest
import torch

from support import tiny_models
from support.noise import noise_image
from support.paths import random_llava
from support.random_prompts import QUESTION
from support.random_prompts import prompt_with_segments as prompt_of
from vlmflow.errors import NotApplicableError
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes.norms.sinks import sinks, threshold_of
from vlmflow.prompts.layouts.registry import find_patch_map

TEXTS = ["What is it?", QUESTION]


@pytest.mark.oracle("norms")
@pytest.mark.parametrize("kind", ["llava", "llava_next"])
@pytest.mark.parametrize("size", [(60, 60), (90, 50), (50, 120)])
def test_norms_are_those_of_the_encoders_features(kind, size):
    processor = tiny_models.build_processor(kind, "vicuna_v1", TEXTS)
    vlm = VisionLanguageModel(tiny_models.build_model(kind, processor, "red").eval(), processor)
    prompt = vlm.prompt(noise_image(size), "What is it?")
    norms = vlm.feature_norms(prompt)
    assert len(norms) == len(prompt.positions("image"))
    # By hand: the tower's own features of the layer that the model takes, without the class token.
    pixels = prompt.inputs["pixel_values"].flatten(0, -4)
    states = vlm.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
    features = states[vlm.model.config.vision_feature_layer][:, 1:].norm(dim=-1).double()
    cut = find_patch_map(processor, size)
    assert [number for number, norm in enumerate(norms) if norm is None] == sorted(cut.no_patch)
    assert norms[:9] == pytest.approx(features[0].tolist(), rel=1e-6)
    if kind == "llava":
        assert len(norms) == 9
    else:
        # Of the tiles, what is left without the margins: a row of patches after the other.
        rest = [norm for norm in norms[9:] if norm is not None]
        assert rest
        tiles = features[1:].flatten()
        assert all((tiles - norm).abs().min() < 1e-5 * norm for norm in rest)


def test_norms_do_not_apply_to_a_model_that_joins_features():
    vlm = random_llava()
    vlm.model.model.multi_modal_projector = torch.nn.Sequential(torch.nn.AvgPool1d(1), torch.nn.Flatten())
    prompt = prompt_of(vlm, 2)
    with pytest.raises(NotApplicableError, match="joins features"):
        vlm.feature_norms(prompt)


def test_sinks_lie_above_the_threshold():
    assert sinks([1.0, None, 57.0, 57.1], 57) == [3]
    norms = pl.Series([[1.0, 2.0, None], [3.0, 4.0]])
    assert threshold_of(norms, 0.5) == 2.5
    vlm = random_llava(grid=2)
    prompt = prompt_of(vlm, 2)
    image = prompt.positions("image").tolist()
    assert prompt.positions("sinks").tolist() == image[:2]
    assert prompt.positions("related patches").tolist() == [image[0], image[2]]
    assert prompt.positions("related patches without sinks").tolist() == [image[2]]
    assert prompt.positions("other patches without sinks").tolist() == [image[3]]
