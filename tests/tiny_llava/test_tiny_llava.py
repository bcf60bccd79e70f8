"""The demo's model as it lies in the repository: what it can do, and how it is built."""

import json
import re

import polars as pl
import pytest
import torch
import yaml
from safetensors import safe_open

from support.paths import ROOT, TINY_LLAVA
from vlmflow.data import scenes
from vlmflow.tiny_llava import packing
from vlmflow.tiny_llava.architecture import build_model, build_processor
from vlmflow.tiny_llava.examination import HELD_OUT, examine
from vlmflow.tiny_llava.lessons import TASKS, Teacher, patch_labels
from vlmflow.tiny_llava.model_card import model_card
from vlmflow.tiny_llava.training import Recipe, Scenes, train


@pytest.fixture(scope="module")
def scores(tiny_llava):
    """On the model card's scenes, which are of a family that training does not draw from."""
    return examine(tiny_llava, **HELD_OUT)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_accuracy_on_scenes_that_it_has_not_seen(scores, task):
    assert scores[task].questions >= 300
    assert scores[task].accuracy >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_without_the_image_it_guesses(scores, task):
    assert scores[task].blanked <= scores[task].guess + 0.08


def test_the_model_has_its_size_and_architecture():
    weights = list(TINY_LLAVA.glob("*.safetensors"))
    assert [path.name for path in weights] == ["model.safetensors"]
    assert weights[0].stat().st_size <= 6_000_000
    header = weights[0].read_bytes()
    entries = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    assert {entry["dtype"] for name, entry in entries.items() if name != "__metadata__"} == {"F16"}
    config = json.loads((TINY_LLAVA / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["text_config"]["num_hidden_layers"] >= 10


def test_the_answer_is_capitalised(tiny_llava, scene):
    drawn, image = scene
    thing = drawn.things[0]
    answer = tiny_llava.answer(tiny_llava.prompt(image, f"Is the {thing.shape} small or large?"))
    assert answer.text == thing.size.capitalize()
    assert len(answer.token_ids) == 1
    assert (answer.tokens, answer.token_probabilities) == ([answer.text], [answer.probability])


@torch.inference_mode()
def test_each_token_of_an_answer_has_its_probability_after_the_tokens_before(tiny_llava, scene):
    prompt = tiny_llava.prompt(scene[1], "How many circles are there?")
    ends, tiny_llava.ends = tiny_llava.ends, []
    try:
        answer = tiny_llava.answer(prompt, max_new_tokens=4)
    finally:
        tiny_llava.ends = ends
    assert len(answer.tokens) == len(answer.token_probabilities) == len(answer.token_ids) == 4
    for number, token in enumerate(answer.token_ids):
        longer = tiny_llava.continue_prompt(prompt, answer.token_ids[:number])
        logits = tiny_llava.model(**longer.inputs).logits[0, -1].float()
        assert logits.softmax(0)[token].item() == pytest.approx(answer.token_probabilities[number], abs=1e-5)


def test_the_word_comes_before_its_capital(tiny_llava):
    """Section 7 of [flow], made visible by the last stage of training."""
    rows = []
    for index in range(12):
        drawn = scenes.draw_scene(index, seed=3)
        thing = drawn.things[0]
        prompt = tiny_llava.prompt(scenes.render(drawn), f"Is the {thing.shape} small or large?")
        words = {"capital": thing.size.capitalize(), "lowercase": thing.size}
        rows.append(tiny_llava.lens(prompt, words))
    mean = pl.concat(rows).group_by("word", "layer").agg(pl.col("probability").mean())
    best = {
        word: mean.filter(pl.col("word") == word).sort("probability", descending=True).row(0, named=True)
        for word in ("capital", "lowercase")
    }
    assert best["capital"]["layer"] == 9
    assert best["lowercase"]["layer"] < 9
    assert best["capital"]["probability"] > 0.9


def test_the_model_card_reports_what_was_measured():
    card = (TINY_LLAVA / "README.md").read_text()
    for task in TASKS:
        assert f"| {task} |" in card
    assert "consequences of the training" in card
    weights = TINY_LLAVA / "model.safetensors"
    with safe_open(weights, "pt") as tensors:
        parameters = sum(tensors.get_tensor(name).numel() for name in tensors.keys())  # noqa: SIM118 (no mapping)
    assert f"{parameters:,} parameters, {weights.stat().st_size / 1e6:.2f} MB" in card


@pytest.mark.slow
def test_the_model_cards_accuracy_is_the_weights(scores):
    """On the card's own scenes, as far as kinds of processors round alike."""
    card = (TINY_LLAVA / "README.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.]+) %", card, re.MULTILINE)
    assert [task for task, *_ in rows] == list(TASKS)
    for task, score in scores.items():
        _, questions, accuracy = rows[TASKS.index(task)]
        assert score.questions == int(questions)
        assert 100 * score.accuracy == pytest.approx(float(accuracy), abs=0.5)
        assert float(accuracy) >= 98


def test_patch_labels_are_the_shapes_on_the_patches():
    scene = scenes.draw_scene(6, seed=0)
    labels = patch_labels([scene])
    for thing in scene.things:
        patch = thing.y // 16 * 6 + thing.x // 16
        assert labels["shape"][0, patch] == scenes.SHAPES.index(thing.shape)
    assert (labels["shape"][0] == len(scenes.SHAPES)).sum() >= 36 - 4 * len(scene.things)


def test_packed_texts_do_not_see_each_other():
    """Each text of a lesson gets the same states as the text alone, by the model's own attention."""
    processor = build_processor()
    model = build_model(processor, seed=0).double().eval()
    teacher = Teacher(processor, seed=0)
    lesson = teacher.lesson(Scenes(5).take(2), captions=1, questions=3, capital=False)
    embeddings = model.get_input_embeddings()(lesson.tokens)
    decoder = model.model.language_model
    prefix, size = len(teacher.prefix), lesson.segment

    def states(embeddings, **arguments):
        return decoder(inputs_embeds=embeddings, use_cache=False, **arguments).last_hidden_state

    with torch.inference_mode():
        alone = [
            states(torch.cat([embeddings[:, :prefix], embeddings[:, begin : begin + size]], dim=1))
            for begin in range(prefix, lesson.tokens.shape[1], size)
        ]
        decoder.set_attn_implementation(packing.NAME)
        packed = states(embeddings, position_ids=lesson.positions, prefix=prefix, segment=size)
        through = states(embeddings, position_ids=lesson.positions, prefix=prefix, segment=size, hidden=lesson.hidden)
    assert len(alone) == 4
    expected = torch.cat([alone[0][:, :prefix], *(text[:, prefix:] for text in alone)], dim=1)
    torch.testing.assert_close(packed, expected, rtol=1e-9, atol=1e-12)
    # Where the image is hidden from what follows the question, questions and captions are as they were.
    captioned = prefix + size
    torch.testing.assert_close(through[:, :captioned], expected[:, :captioned], rtol=1e-9, atol=1e-12)
    for number in (1, 2, 3):
        begin = prefix + number * size
        text = processor.tokenizer.convert_ids_to_tokens(lesson.tokens[0, begin : begin + size])
        end = begin + text.index("?") + 1
        torch.testing.assert_close(through[0, begin:end], expected[0, begin:end], rtol=1e-9, atol=1e-12)
        assert not torch.isclose(through[0, end], expected[0, end]).all()


def test_a_lesson_learns_the_answers_and_nothing_else():
    processor = build_processor()
    teacher = Teacher(processor, seed=0)
    lesson = teacher.lesson(Scenes(5).take(3), captions=0, questions=5, capital=True)
    words = processor.tokenizer.convert_ids_to_tokens
    asked = (lesson.tasks >= 0).nonzero().tolist()
    assert asked
    for row, place in asked:
        answer = words(lesson.labels[row, place].item())
        assert answer == answer.capitalize()
        assert lesson.tokens[row, place + 1] == lesson.labels[row, place]
        assert lesson.labels[row, place + 1] == processor.tokenizer.eos_token_id
        assert words(lesson.tokens[row, place].item()) == ":"


def test_training_runs_through_all_stages_and_is_seeded():
    recipe = Recipe(
        align_steps=2, align_images=2, answer_steps=2, capital_steps=2, images=2, segments=5, good_enough=2.0
    )

    def trained():
        processor = build_processor()
        model = build_model(processor, recipe.seed)
        history = train(model, processor, recipe)
        return model, history, processor

    model, history, _ = trained()
    again, _, _ = trained()
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert {row["stage"] for row in history.rows} == {"answers", "capitals"}
    assert history.steps == {"answers": 3, "through_question": 2, "capitals": 2}
    score = {"questions": 1, "accuracy": 1.0, "blanked": 0.5, "guess": 0.5}
    result = {
        "seconds": 1,
        "threads": 1,
        "parameters": 1,
        "megabytes": 1,
        "held_out": {"scenes": 1, "seed": 2},
        "scores": dict.fromkeys(TASKS, score),
    }
    assert "100.0 %" in model_card(result, recipe, history)


def test_training_demo_and_examination_have_scenes_of_their_own():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert len({config["dataset"]["seed"], Recipe().scenes_seed, HELD_OUT["seed"]}) == 3
