"""InstructBLIP: query tokens in place of patches, and a query transformer that reads the question."""

import polars as pl
import pytest
import torch
from PIL import Image

from support.paths import TINY_LLAVA
from support.tiny_models import build_instructblip, save_instructblip
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.errors import ProcessorError, PromptError, QuestionError
from vlmflow.models.load import load_model
from vlmflow.models.processor import load_processor
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes import (
    AttentionMapProbe,
    AttentionProbe,
    BudgetProbe,
    KnockoutProbe,
    LensProbe,
    NormsProbe,
    OcclusionProbe,
    OutputLensProbe,
    SimilarityProbe,
    VisualLensProbe,
)
from vlmflow.probes.answer import answer_question
from vlmflow.probes.context import prompt_of
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.visual_lens import NAMES_OF_OBJECTS

QUESTION = "Which color is the circle, red or blue?"
TEXTS = [QUESTION, "What is to the left of the square?", "red", "blue", "Short answer:", "Which shape is it?"]
TOKENS = 4


@pytest.fixture(scope="module")
def vlm():
    model, processor = build_instructblip(TEXTS, "red", tokens=TOKENS)
    return VisionLanguageModel(model.double(), processor)


@pytest.fixture
def rows(tmp_path):
    thing = {"name": "circle", "id": "1", "x": 1.0, "y": 1.0, "w": 9.0, "h": 9.0, "attributes": ["red"]}
    found = []
    for number, question in enumerate((QUESTION, "Which shape is it?", "What is to the left of the square?")):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 30), (40 * number, 200, 10)).save(path)
        found.append(
            {
                "question_id": str(number),
                "image_id": str(number),
                "question": question,
                "answer": "red",
                "image": str(path),
                "width": 40,
                "height": 30,
                "structural": "choose",
                "objects": [thing],
                "true_option": None,
                "false_option": None,
                "captions": None,
                "related": None,
                "token_ids": [7],
                "in_detail": True,
            }
        )
    return found


def test_a_saved_instructblip_is_loaded_and_answers(tmp_path):
    save_instructblip(tmp_path, TEXTS, "red", tokens=TOKENS)
    with pytest.raises(ProcessorError, match=r"no conversation template of its own; give template: .*plain"):
        load_processor(tmp_path)
    vlm = load_model(tmp_path, template="plain")
    prompt = vlm.prompt(Image.new("RGB", (50, 40), (200, 20, 20)), QUESTION, options=("red", "blue"))
    assert prompt.positions("image").tolist() == list(range(TOKENS))
    said = vlm.answer(prompt)
    assert said.text == "red"
    # Greedy, though the language model inside has generation settings of its own.
    assert len(said.token_ids) <= 16
    assert vlm.model.language_model.generation_config.max_new_tokens != 16


def test_segments_are_where_their_words_are(vlm):
    prompt = vlm.prompt(Image.new("RGB", (50, 40)), QUESTION, options=("red", "blue"), instruction=" Short answer:")
    tokens = prompt.inputs["input_ids"][0]

    def words(segment):
        return vlm.processor.tokenizer.decode(tokens[prompt.positions(segment)])

    assert words("question") == QUESTION
    assert words("true option") == "red"
    assert words("last") == ":"
    assert prompt.inputs["qformer_input_ids"].shape[1] > 0
    with pytest.raises(PromptError, match="patches do not apply: InstructBlipProcessor makes 4 query tokens"):
        prompt.positions("related patches")
    longer = vlm.continue_prompt(prompt, [5, 6])
    assert len(longer) == len(prompt) + 2
    assert torch.equal(longer.inputs["qformer_input_ids"], prompt.inputs["qformer_input_ids"])


def test_a_question_as_long_as_the_prompt_is_not_lengthened_for_the_query_transformer(vlm):
    prompt = vlm.prompt(Image.new("RGB", (50, 40)), QUESTION)
    same = {"qformer_input_ids": torch.ones_like(prompt.inputs["input_ids"])}
    longer = vlm.continue_prompt(type(prompt)(prompt.inputs | same, prompt.text, prompt.segments), [5])
    assert longer.inputs["qformer_input_ids"].shape == prompt.inputs["input_ids"].shape


def test_replaying_equals_the_plain_method(vlm):
    prompt = vlm.prompt(Image.new("RGB", (50, 40), (10, 200, 90)), QUESTION)
    image, question = prompt.positions("image"), prompt.positions("question")
    knockouts = [AttentionKnockout(image, question, layer, layer + 1) for layer in range(3)]
    fast = vlm.replay(vlm.record(prompt), knockouts)
    slow = plain(vlm.model, vlm.layers, prompt.inputs, knockouts)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-9)


def test_the_query_tokens_depend_on_the_question(vlm):
    """What is trivially so in a decoder that cannot look ahead is a finding here, or none."""
    image = Image.new("RGB", (50, 40), (10, 200, 90))
    one, other = (vlm.record(vlm.image_prompt(image, text)) for text in ("What is it?", "Which one?"))
    assert not torch.allclose(one.calls[0].hidden[0, :TOKENS], other.calls[0].hidden[0, :TOKENS])
    with pytest.raises(PromptError, match="always puts the image before the text"):
        vlm.image_prompt(image, "What is it?", before=True)


APPLIES = {
    "flow": KnockoutProbe(kind="knockout", window=1, edges=["image -> last", "question -> last", "image -> question"]),
    "lens": LensProbe(kind="lens"),
    "similarity": SimilarityProbe(kind="similarity", partners=1),
    "output": OutputLensProbe(kind="output-lens"),
    "attention": AttentionProbe(kind="attention", edges=["image -> last", "image -> question"]),
    "words": VisualLensProbe(kind="visual-lens", instruction_positions=["after"]),
    "budget": BudgetProbe(kind="budget", draws=1),
}
DOES_NOT = {
    "norms": NormsProbe(kind="norms"),
    "map": AttentionMapProbe(kind="attention-map"),
    "occlusion": OcclusionProbe(kind="occlusion", grid=2),
    "patches": KnockoutProbe(kind="knockout", window=1, edges=["related patches -> question"]),
}


@pytest.mark.parametrize("name", APPLIES)
def test_probes_without_patches_are_measured(vlm, rows, name):
    run = ProbeRun(vlm, APPLIES[name], name, questions=[Question.of(row) for row in rows])
    measured = run.measure(Question.of(rows[0]))
    assert len(measured) >= 3
    if name == "words":
        # The names of objects need patches; how the tokens decode does not.
        assert measured["object"].null_count() == len(measured)
        assert measured["decoded"].null_count() == len(measured)
        assert any(each.what == NAMES_OF_OBJECTS and "patches do not apply" in each.reason for each in run.skipped)
        correct, none = (measured.filter(pl.col("instruction") == each)["entropy"] for each in ("correct", "none"))
        assert not correct.equals(none)
    if name == "output":
        assert set(measured["segment"]) == {"image", "question", "last"}
    if name == "budget":
        assert set(measured["tokens_kept"]) == {0, 1, 2, 4}


@pytest.mark.parametrize("name", DOES_NOT)
def test_probes_of_patches_do_not_apply_to_query_tokens(vlm, rows, name):
    run = ProbeRun(vlm, DOES_NOT[name], name, questions=[Question.of(row) for row in rows])
    with pytest.raises(QuestionError) as caught:
        run.measure(Question.of(rows[0]))
    said = f"{caught.value} {run.skipped}"
    assert "not apply" in said
    assert "InstructBlip" in said


def test_an_answer_is_correct_and_the_instruction_ends_the_prompt(vlm, rows):
    assert answer_question(vlm, Question.of(rows[0]))["correct"]
    assert prompt_of(vlm, Question.of(rows[0]), " Short answer:").text.endswith("Short answer:")


def test_a_processor_with_a_template_is_left_alone():
    assert load_processor(TINY_LLAVA).chat_template is not None
