"""Conversation templates as the paper used them, and how images are fitted."""

import numpy as np
import pytest
from PIL import Image

from support import tiny_models
from support.paths import TINY_LLAVA
from vlmflow import load_model
from vlmflow.errors import ModelError, ProcessorError
from vlmflow.models.processor import load_processor
from vlmflow.notebook import VisionLanguageModel
from vlmflow.prompts.build import turn_end
from vlmflow.prompts.model_inputs import chat_text

QUESTION = "Is the jar full or empty? \nAnswer the question using a single word or phrase."
EXPECTED = {
    "vicuna_v1": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nIs the jar full or empty? \nAnswer the "
        "question using a single word or phrase. ASSISTANT:"
    ),
    "llava_llama_3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
        "assistant. You are able to understand the visual content that the user provides, and assist the user with a "
        "variety of tasks using natural language.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n<image>\nIs the "
        "jar full or empty? \nAnswer the question using a single word or phrase.<|eot_id|><|start_header_id|>assistant"
        "<|end_header_id|>\n\n \n"
    ),
}


@pytest.fixture(scope="module", params=EXPECTED)
def folder(request, tmp_path_factory):
    """A processor of the template's kind, saved with another template than that."""
    folder = tmp_path_factory.mktemp(request.param)
    processor = tiny_models.build_processor("llava", request.param, [QUESTION])
    processor.chat_template = "{{ 'its own <image> ' ~ messages[0].content[1].text }}"
    processor.save_pretrained(folder)
    return request.param, folder


def test_templates_are_the_papers_to_the_letter(folder):
    template, path = folder
    processor = load_processor(path, template=template)
    assert chat_text(processor, QUESTION) == EXPECTED[template]
    assert chat_text(load_processor(path), QUESTION) == f"its own <image> {QUESTION}"


def test_the_last_token_is_the_one_before_the_answer(folder):
    template, path = folder
    processor = load_processor(path, template=template)
    ids = processor.tokenizer(chat_text(processor, QUESTION), add_special_tokens=False).input_ids
    assert processor.tokenizer.decode(ids[-1:]).endswith("\n" if template == "llava_llama_3" else ":")
    start = processor.tokenizer.bos_token_id
    model = tiny_models.build_model("llava", processor, answer="full")
    vlm = VisionLanguageModel(model, processor)
    prompt = vlm.prompt(Image.new("RGB", (60, 42)), "Is the jar full or empty?")
    assert prompt.inputs["input_ids"][0].tolist().count(start) == 1
    assert prompt.positions("last").item() == len(prompt) - 1


def test_an_answer_ends_where_the_template_ends_a_turn(folder):
    """Whatever the model's own settings call the end."""
    template, path = folder
    processor = load_processor(path, template=template)
    vlm = VisionLanguageModel(tiny_models.build_model("llava", processor, answer="full"), processor)
    prompt = vlm.prompt(Image.new("RGB", (60, 42)), "Is the jar full or empty?")
    assert vlm.turn_end == processor.tokenizer.eos_token_id
    for own in (processor.tokenizer.pad_token_id, [processor.tokenizer.pad_token_id], None):
        vlm.model.generation_config.eos_token_id = own
        assert vlm.answer(prompt).text == "full"
    processor.chat_template = "<image> {{ messages[0].content[1].text }}"
    assert turn_end(processor) is None
    processor.chat_template = "{{ raise_exception('no answers here') if messages[1] else '<image>' }}"
    assert turn_end(processor) is None


def test_a_template_may_be_a_file(folder, tmp_path):
    _, path = folder
    (tmp_path / "mine.jinja").write_text("MINE <image> {{ messages[0].content[1].text }}:")
    assert chat_text(load_processor(path, template=str(tmp_path / "mine.jinja")), "a?") == "MINE <image> a?:"
    with pytest.raises(ProcessorError, match=r"none\.jinja.*choose from own, vicuna_v1, llava_llama_3"):
        load_processor(path, template=str(tmp_path / "none.jinja"))


def test_images_are_padded_or_cropped_as_asked():
    image = Image.new("RGB", (192, 96), "red")
    seen = {}
    for fit in ("own", "pad", "crop"):
        processor = load_processor(TINY_LLAVA, fit=fit)
        seen[fit] = processor.image_processor([image], return_tensors="np", do_normalize=False)["pixel_values"][0]
        assert seen[fit].shape == (3, 96, 96)
    assert np.array_equal(seen["own"], seen["crop"])
    assert (seen["crop"][0] == 1).all()
    assert (seen["pad"][0, 25:71] > 0.99).all()
    # The ground is the mean colour of the images that CLIP was trained on, as the original code has it.
    mean = [int(value * 255) / 255 for value in load_processor(TINY_LLAVA).image_processor.image_mean]
    assert seen["pad"][:, 0, 0] == pytest.approx(mean, abs=1e-6)


def test_tiles_cannot_be_padded(tmp_path):
    tiny_models.build_processor("llava_next", "vicuna_v1", ["a"]).save_pretrained(tmp_path)
    with pytest.raises(ProcessorError, match="LlavaNextProcessor cuts images in another way, so remove this key"):
        load_processor(tmp_path, fit="pad")
    tiny_models.save(tmp_path, "llava_next", "vicuna_v1", ["a"], "a")
    with pytest.raises(ModelError, match="remove this key"):
        load_model(tmp_path, device="cpu", fit="pad")
