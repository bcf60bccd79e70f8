"""The layouts in which hubs keep one processor: whichever it is, the prompt is the same to the last number."""

import json

import pytest
import torch

from support.families.all import FAMILIES
from support.families.base import QUESTION, write_json
from support.noise import noise_image
from vlmflow.models.processor import load_processor
from vlmflow.prompts.build import build_prompt, turn_end

# With a video part and without; with settings of the processor and without; tiles and one grid.
NAMES = ("Qwen2-VL", "Qwen3-VL", "GLM-4V", "InternVL", "LLaVA-OneVision", "SmolVLM", "Idefics3", "Gemma 3")
IMAGE = noise_image((130, 90))


def read(path):
    return json.loads(path.read_text())


def one_file(folder):
    """As transformers 5 saves it: the parts lie in the file of the whole."""
    whole = read(folder / "processor_config.json")
    for part, file in (("image", "preprocessor_config.json"), ("video", "video_preprocessor_config.json")):
        if (folder / file).exists():
            whole[f"{part}_processor"] = read(folder / file)
            (folder / file).unlink()
    write_json(folder / "processor_config.json", whole)


def video_part_unnamed(folder):
    """As before there were video processors: what is said of images held for videos too."""
    (folder / "video_preprocessor_config.json").unlink(missing_ok=True)


def template_as_json(folder):
    """As in transformers 4: the template is a string in a file of its own."""
    template = folder / "chat_template.jinja"
    write_json(folder / "chat_template.json", {"chat_template": template.read_text()})
    template.unlink()


def template_in_the_processor(folder):
    """As some hubs of LLaVA had it: the template is one of the processor's settings."""
    template = folder / "chat_template.jinja"
    settings = read(folder / "processor_config.json")
    write_json(folder / "processor_config.json", settings | {"chat_template": template.read_text()})
    template.unlink()


def fast_class(folder):
    """As in transformers 4.5x: the image processor is named after the one that needs torchvision."""
    settings = read(folder / "preprocessor_config.json")
    settings["image_processor_type"] = settings["image_processor_type"].removesuffix("Fast") + "Fast"
    write_json(folder / "preprocessor_config.json", settings)


def special_tokens_listed(folder):
    """As in transformers 4: special tokens are in one list, with their numbers beside; some are only there."""
    path = folder / "tokenizer_config.json"
    settings = read(path)
    tokens = {each["id"]: each for each in read(folder / "tokenizer.json")["added_tokens"]}
    kept = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    settings["added_tokens_decoder"] = {
        str(number): {key: each[key] for key in kept} for number, each in tokens.items()
    }
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(path, settings)


LAYOUTS = (one_file, video_part_unnamed, template_as_json, template_in_the_processor, fast_class, special_tokens_listed)


@pytest.mark.parametrize("name", NAMES)
def test_a_processor_in_another_layout_makes_the_same_prompt(name, tmp_path):
    FAMILIES[name].build(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    expected, end = prompt_of(tmp_path)
    for layout in LAYOUTS:
        for path in tmp_path.iterdir():
            path.unlink()
        for path, content in files.items():
            path.write_bytes(content)
        layout(tmp_path)
        prompt, last = prompt_of(tmp_path)
        assert (prompt.text, last) == (expected.text, end), layout.__doc__
        assert prompt.inputs.keys() == expected.inputs.keys(), layout.__doc__
        for key, value in expected.inputs.items():
            assert torch.equal(prompt.inputs[key], value), (key, layout.__doc__)
        assert prompt.segments.keys() == expected.segments.keys(), layout.__doc__
        for key, positions in expected.segments.items():
            assert torch.equal(prompt.segments[key], positions), (key, layout.__doc__)


def prompt_of(folder):
    processor = load_processor(folder)
    token = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    return build_prompt(processor, IMAGE, QUESTION, image_token_id=token, options=("red", "blue")), turn_end(processor)
