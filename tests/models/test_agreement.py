"""Processors that lack what the model's configuration says, and those that contradict it."""

import json
import shutil

import pytest

from support.paths import TINY_LLAVA
from vlmflow import load_model
from vlmflow.errors import ModelError, ProcessorError
from vlmflow.models.processor import load_processor
from vlmflow.prompts.layouts.registry import find_patch_map

QUESTION = "What color is the circle, red or blue?"


@pytest.fixture
def changed(tmp_path):
    """A copy of the demo's model with keys of one of its files changed, or taken out (None)."""

    def change(file, **keys):
        folder = tmp_path / "model"
        shutil.copytree(TINY_LLAVA, folder)
        content = json.loads((folder / file).read_text()) | keys
        content = {key: value for key, value in content.items() if value is not None}
        (folder / file).write_text(json.dumps(content))
        return folder

    return change


@pytest.mark.parametrize("key", ["patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"])
def test_what_an_old_processor_lacks_is_taken_from_the_configuration(changed, tiny_llava, scene, key):
    image = scene[1]
    old = load_model(changed("processor_config.json", **{key: None}), device="cpu")
    prompt, whole = old.prompt(image, QUESTION), tiny_llava.prompt(image, QUESTION)
    assert prompt.positions("image").tolist() == whole.positions("image").tolist()
    assert old.answer(prompt) == tiny_llava.answer(whole)
    assert find_patch_map(old.processor, image.size) == find_patch_map(tiny_llava.processor, image.size)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        # 96 // 15 = 96 // 16: the count of tokens is right, and patches are moved without an error.
        ("patch_size", 15, r"say patch_size: 15, but config.json says vision_config.patch_size: 16"),
        ("num_additional_image_tokens", 0, r"counts -1 tokens besides an image's patches, but .* make \+0"),
        ("vision_feature_select_strategy", "full", r"counts \+1 tokens besides an image's patches, but .* make \+0"),
    ],
)
def test_a_contradiction_is_an_error_when_the_model_is_loaded(changed, key, value, told):
    folder = changed("processor_config.json", **{key: value})
    with pytest.raises(ModelError, match=told):
        load_model(folder, device="cpu")
    with pytest.raises(ProcessorError, match=told):  # as the job that maps patches loads it
        load_processor(folder)


def test_images_of_another_size_than_the_encoders_are_refused(changed):
    own = json.loads((TINY_LLAVA / "processor_config.json").read_text())["image_processor"]
    other = own | {"crop_size": {"height": 48, "width": 48}, "size": {"shortest_edge": 48}}
    with pytest.raises(ModelError, match=r"crop_size\.height: 48, but config.json says vision_config\.image_size: 96"):
        load_model(changed("processor_config.json", image_processor=other), device="cpu")


def test_an_image_token_that_the_processor_does_not_write_is_refused(changed):
    with pytest.raises(ModelError, match=r"the image token is 77 \('\w+'\), but the processor writes '<image>'.* 4;"):
        load_model(changed("config.json", image_token_index=77, image_token_id=None), device="cpu")


def test_a_tokenizer_that_was_saved_with_truncation_does_not_truncate(changed, tiny_llava, scene):
    cut = {"direction": "Right", "max_length": 45, "strategy": "LongestFirst", "stride": 0}
    vlm = load_model(changed("tokenizer.json", truncation=cut), device="cpu")
    prompt = vlm.prompt(scene[1], QUESTION)
    assert prompt.inputs["input_ids"].tolist() == tiny_llava.prompt(scene[1], QUESTION).inputs["input_ids"].tolist()
