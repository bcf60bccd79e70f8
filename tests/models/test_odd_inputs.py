"""Odd images and questions: what can be read is read alike by the library and by the workflow, and all else is
refused in words."""

import warnings

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from support.families.all import FAMILIES
from support.families.base import QUESTION
from support.families.llavas import LLAVAS
from support.noise import noise_image
from vlmflow import load_model
from vlmflow.data.open_image import ORIENTATION, open_image
from vlmflow.errors import ForwardError, ImageError, JobError, PromptError
from vlmflow.jobs.job import for_each_question
from vlmflow.probes.answer import answer_question
from vlmflow.probes.question import Question
from vlmflow.prompts.build import Patches, turn_end

NAMES = ("LLaVA", "LLaVA-NeXT", "Qwen2-VL", "Idefics3", "InternVL", "Gemma 3")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    found = {}
    for name in (*NAMES, "Gemma 4", "GLM-4V"):
        folder = tmp_path_factory.mktemp("model")
        (FAMILIES | LLAVAS)[name].build(folder)
        found[name] = load_model(folder, device="cpu")
    return found


def written(folder, kind):
    """An image file of one odd kind."""
    base = noise_image((60, 40)).convert("L")
    path = folder / "image.png"
    if kind == "16 bits":
        Image.fromarray((np.asarray(base).astype(np.uint16) << 8) + 7).save(path)
    elif kind == "transparent palette":
        base.convert("P").save(path, transparency=3)
    elif kind in ("CMYK", "LAB"):
        path = folder / "image.tif"
        base.convert("RGB").save(path) if kind == "LAB" else base.convert("CMYK").save(path)
    elif isinstance(kind, tuple):
        base.resize(kind).convert("RGB").save(path)
    else:
        base.convert(kind).save(path)
    return path


KINDS = ("16 bits", "1", "L", "LA", "RGBA", "transparent palette", "CMYK", (1, 1), (2, 2), (1000, 20), (600, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_reads_images_as_the_workflow_does(kind, models, tmp_path):
    path = written(tmp_path, kind)
    for name in NAMES:
        prompts = [models[name].prompt(image, QUESTION) for image in (Image.open(path), open_image(str(path)))]
        for key, value in prompts[0].inputs.items():
            assert torch.equal(value, prompts[1].inputs[key]), (name, key)
    pixels = np.asarray(open_image(str(path)))
    assert isinstance(kind, tuple) or pixels.std() > 10, "it is not cut off to one colour"


@pytest.mark.parametrize(
    ("kind", "reason"), [((2000, 10), "longer side may be at most 100 times"), ("frames", "frames")]
)
def test_images_that_the_workflow_refuses_the_library_refuses_too(kind, reason, models, tmp_path):
    path = tmp_path / "image.gif"
    if kind == "frames":
        frames = [Image.new("RGB", (30, 30), color) for color in ("red", "blue")]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    else:
        Image.new("RGB", kind).save(path)
    with pytest.raises(ImageError, match=reason):
        open_image(str(path))
    for name in NAMES:
        with pytest.raises(ImageError, match=reason):
            models[name].prompt(Image.open(path), QUESTION)


def test_an_image_that_is_turned_is_warned_of_once(models, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    noise_image((60, 40)).save(path, exif=exif)
    with pytest.warns(UserWarning, match=r"turned.jpg has an orientation in its EXIF data \(6\), which is not applied"):
        image = open_image(str(path))
    assert image.size == (60, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models["LLaVA"].prompt(image, QUESTION)
    with pytest.warns(UserWarning, match="boxes are of the pixels as they are stored"):
        models["LLaVA"].prompt(Image.open(path), QUESTION)


def question_about(path):
    about = {"id": path.stem, "image_id": path.stem, "image": str(path), "image_size": Image.open(path).size}
    nothing = dict.fromkeys(("correct_answer", "options", "captions", "patches", "sinks"))
    return Question(**about, **nothing, text=QUESTION, answer="red", objects=(), token_ids=[], in_detail=False)


def test_an_error_of_the_model_about_one_question_costs_that_question(models, tmp_path):
    """Gemma 4 has positions for images of some lengths only."""
    vlm, questions = models["Gemma 4"], {}
    for name, size in {"long": (600, 60), "usual": (130, 90)}.items():
        noise_image(size).save(tmp_path / f"{name}.png")
        questions[name] = question_about(tmp_path / f"{name}.png")
    prompt = vlm.prompt(open_image(questions["long"].image), QUESTION)
    why = "Gemma4ForConditionalGeneration cannot process this prompt: IndexError"
    for call in (vlm.record, vlm.answer):
        with pytest.raises(ForwardError, match=why):
            call(prompt)
    results, skipped = for_each_question(
        pl.DataFrame({"task": "T", "question_id": list(questions)}),
        lambda row: answer_question(vlm, questions[row["question_id"]], "", "strict"),
        stage="answers",
        model="m",
    )
    assert [row["question_id"] for row in results] == ["usual"]
    assert skipped["question_id"].to_list() == ["long"]
    assert skipped["reason"][0].startswith(why)


def test_an_error_about_every_question_costs_the_model(models, tmp_path):
    noise_image((600, 60)).save(tmp_path / "long.png")
    question = question_about(tmp_path / "long.png")
    with pytest.raises(JobError, match=r"none of the 2 questions could be measured .* Gemma4ForConditionalGeneration"):
        for_each_question(
            pl.DataFrame({"task": "T", "question_id": ["1", "2"]}),
            lambda _: answer_question(models["Gemma 4"], question, "", "strict"),
            stage="answers",
            model="m",
        )


@pytest.mark.parametrize(
    ("name", "mark"), [("Idefics3", "<row_1_col_2>"), ("Gemma 3", "<end_of_turn>"), ("Qwen2-VL", "<|im_start|>")]
)
def test_marks_in_questions_are_refused(name, mark, models):
    with pytest.raises(PromptError, match="reads as a special token"):
        models[name].prompt(Image.new("RGB", (60, 40)), f"Is it {mark} red?")


def test_a_mark_that_the_tokenizer_does_not_call_special_ends_an_answer(models):
    tokenizer = models["Gemma 3"].processor.tokenizer
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert end not in tokenizer.all_special_ids
    assert turn_end(models["Gemma 3"].processor) == end


def test_space_around_a_question_does_not_matter(models):
    for name in NAMES:
        prompt = models[name].prompt(Image.new("RGB", (60, 40)), f" {QUESTION}\n", options=("red", "blue"))
        assert (
            models[name]
            .processor.tokenizer.decode(prompt.inputs["input_ids"][0, prompt.positions("true option")])
            .strip()
            == "red"
        )


@pytest.mark.parametrize(
    ("patches", "reason"),
    [(Patches(16, [16]), "there is no image token 16"), (Patches(16, [0], [-1]), "there is no image token -1")],
)
def test_patches_that_do_not_exist_are_told(patches, reason, models):
    prompt = models["LLaVA"].prompt(Image.new("RGB", (60, 60)), QUESTION, patches=patches)
    with pytest.raises(PromptError, match=reason):
        prompt.positions("related patches")


@pytest.mark.parametrize("box", [("a", 0, 1, 1), (1, 2, 3), None, (0, 0, None, 1)])
def test_boxes_that_are_no_numbers_are_told(box, models):
    prompt = models["LLaVA"].prompt(Image.new("RGB", (60, 60)), QUESTION, objects={"circle": [box]})
    with pytest.raises(PromptError, match="is not four finite numbers"):
        prompt.positions("related patches")
