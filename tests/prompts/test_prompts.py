import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.paths import random_llava
from vlmflow.edges import Edge, window_layers
from vlmflow.errors import PromptError
from vlmflow.prompts.spans import find_objects, find_options, find_words

IMAGE = Image.new("RGB", (8, 8), "red")
QUESTION = "is the red circle left of a blue square ?"


@pytest.fixture(scope="module")
def vlm():
    return random_llava()


WIDE = Image.new("RGB", (16, 16), "red")


@pytest.fixture(scope="module")
def finer():
    """A model whose image has sixteen patches."""
    return random_llava(grid=4)


def words(vlm, prompt, segment):
    return vlm.processor.tokenizer.convert_ids_to_tokens(prompt.inputs["input_ids"][0, prompt.positions(segment)])


def test_every_segment_holds_its_words(vlm):
    prompt = vlm.prompt(
        IMAGE, QUESTION, objects={"circle": [(0, 0, 4, 4)], "blue square": [(4, 4, 4, 4)]}, options=("red", "blue")
    )
    assert words(vlm, prompt, "image") == ["<image>"] * 4
    assert words(vlm, prompt, "question") == QUESTION.split()
    assert words(vlm, prompt, "true option") == ["red"]
    assert words(vlm, prompt, "false option") == ["blue"]
    assert words(vlm, prompt, "options") == ["red", "blue"]
    assert words(vlm, prompt, "objects") == ["circle", "blue", "square"]
    assert words(vlm, prompt, "question without options") == ["is", "the", "circle", "left", "of", "a", "square", "?"]
    assert words(vlm, prompt, "question without objects") == ["is", "the", "red", "left", "of", "a", "?"]
    assert words(vlm, prompt, "template") == ["ASSISTANT"]
    assert words(vlm, prompt, "last") == [":"]
    image = prompt.positions("image").tolist()
    assert prompt.positions("related patches").tolist() == [image[0], image[3]]
    assert prompt.positions("other patches").tolist() == image[1:3]
    assert prompt.positions("last").tolist() == [len(prompt) - 1]
    assert prompt.positions("question").dtype == torch.long


def test_an_instruction_belongs_to_the_template(vlm):
    prompt = vlm.prompt(IMAGE, QUESTION, instruction="\nin the image ?")
    assert words(vlm, prompt, "question") == QUESTION.split()
    assert words(vlm, prompt, "template") == ["in", "the", "image", "?", "ASSISTANT"]


@pytest.mark.parametrize(
    ("segment", "arguments", "message"),
    [
        ("related patches", {}, "without boxes"),
        ("other patches", {"objects": {"circle": []}}, "without boxes"),
        ("related patches", {"objects": {"circle": [(20, 20, 3, 3)]}}, "outside of the image, which has 8 × 8"),
        ("objects", {}, "without objects"),
        ("objects", {"objects": {"zebra": [(0, 0, 4, 4)]}}, "'zebra' is not in the question"),
        ("options", {}, "without options"),
        ("true option", {"options": ("green", "blue")}, "'green' is not in the question"),
        ("question without options", {"options": ("red", "pink")}, "'pink' is not in the question"),
        ("answer", {}, "unknown segment 'answer'; choose from"),
    ],
)
def test_a_segment_that_a_prompt_does_not_have_is_an_error(vlm, segment, arguments, message):
    prompt = vlm.prompt(IMAGE, QUESTION, **arguments)
    with pytest.raises(PromptError, match=message):
        prompt.positions(segment)


@given(seed=st.text(max_size=5), x=st.integers(0, 15), width=st.integers(1, 16))
def test_as_many_other_patches_as_related_ones_are_drawn_by_the_seed(finer, seed, x, width):
    boxes = {"circle": [(x, 4, width, 12)]}
    question = "what color is the circle ?"
    prompt = finer.prompt(WIDE, question, objects=boxes, seed=seed)
    related = prompt.segments["related patches"].tolist()
    others = prompt.segments.get("other patches", torch.tensor([])).tolist()
    name = "other patches, as many as related"
    if len(others) < len(related):
        with pytest.raises(
            PromptError, match=rf"there are {len(others)} other patches, fewer than the {len(related)} related ones"
        ):
            prompt.positions(name)
        return
    drawn = prompt.positions(name)
    assert len(drawn) == len(related)
    assert set(drawn.tolist()) <= set(others)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert torch.equal(drawn, finer.prompt(WIDE, question, objects=boxes, seed=seed).positions(name))


def test_another_seed_draws_other_patches(finer):
    drawn = {
        tuple(
            finer.prompt(WIDE, "what color is the circle ?", objects={"circle": [(0, 0, 4, 4)]}, seed=str(seed))
            .positions("other patches, as many as related")
            .tolist()
        )
        for seed in range(8)
    }
    assert len(drawn) > 1


def test_an_object_of_two_that_is_not_in_the_question_is_told(vlm):
    prompt = vlm.prompt(IMAGE, "is it blue circle or red ?", objects={"circle": [], "necktie": []})
    assert prompt.incomplete["objects"].startswith("'necktie' is not in the question 'is it blue circle or red ?'")
    assert "objects" in prompt.segments
    assert vlm.prompt(IMAGE, "is it blue circle or red ?", objects={"circle": []}).incomplete == {}


def test_an_object_outside_of_the_question_has_patches_but_no_words(vlm):
    prompt = vlm.prompt(IMAGE, QUESTION, objects={"zebra": [(0, 0, 4, 4)]})
    assert len(prompt.positions("related patches")) == 1


@pytest.mark.parametrize(
    ("question", "message"),
    [("", "empty"), ("  ", "empty"), ("what is <image> ?", "'<image>'"), ("red </s> blue", "'</s>'")],
)
def test_questions_that_cannot_be_asked_are_refused(vlm, question, message):
    with pytest.raises(PromptError, match=message):
        vlm.prompt(IMAGE, question)


def test_the_begin_token_is_not_doubled(vlm):
    template = vlm.processor.chat_template
    vlm.processor.chat_template = "<s>" + template
    try:
        ids = vlm.prompt(IMAGE, QUESTION).inputs["input_ids"][0].tolist()
    finally:
        vlm.processor.chat_template = template
    assert ids.count(vlm.processor.tokenizer.bos_token_id) == 1


def test_only_complete_words_are_found():
    assert find_words("a hundred red cars", "red") == (10, 13)
    assert find_words("is there a category?", "cat") is None
    assert find_words("Is it RED?", "red") == (6, 9)
    assert find_words("a b", "c") is None
    assert find_words("what (exactly) is it?", "(exactly)") == (5, 14)
    assert find_words("the cat or the cat", "cat", taken=[(4, 7)]) == (15, 18)


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("two coats", "coat", "coats"),
        ("Are there berries?", "berry", "berries"),
        ("women or men", "man", "men"),
        ("women or men", "woman", "women"),
        ("is it to the left of him?", "he", "him"),
        ("a coat among coats", "coat", "coat"),
    ],
)
def test_an_object_is_found_in_another_form(text, name, found):
    start, end = find_words(text, name)
    assert text[start:end] == found


def test_options_are_searched_as_a_pair():
    text = "Is the orange orange or red?"
    true, false = find_options(text, "orange", "red")
    assert true == (14, 20)
    assert text[slice(*false)] == "red"
    assert find_objects(text, ["orange"], [true, false]) == {"orange": (7, 13)}
    assert find_options("Is it red?", "red", "blue") == ((6, 9), None)
    text = "Is the right shoe to the left or to the right of the bag?"
    left, right = find_options(text, "left", "right")
    assert (text[slice(*left)], text[slice(*right)]) == ("left", "right")
    assert right[0] > left[0]


def test_longer_objects_come_first():
    text = "What is common to the fence post and the post?"
    spans = find_objects(text, ["post", "fence post"])
    assert {name: text[start:end] for name, (start, end) in spans.items()} == {name: name for name in spans}
    assert spans["post"][0] > spans["fence post"][1]


def test_an_option_is_not_found_inside_of_the_other_one(vlm):
    prompt = vlm.prompt(IMAGE, "is it blue circle or circle ?", options=("circle", "blue circle"))
    first = prompt.positions("question")[0].item()
    assert (prompt.positions("true option") - first).tolist() == [5]
    assert (prompt.positions("false option") - first).tolist() == [2, 3]


def test_an_expansion_that_ends_in_other_text_is_found(vlm, monkeypatch):
    """Some processors put words after the image's tokens; the question is found all the same."""
    plain = vlm.prompt(IMAGE, QUESTION)
    processor = type(vlm.processor)
    expand = processor.replace_image_token
    monkeypatch.setattr(processor, "replace_image_token", lambda *a, **k: expand(*a, **k) + " to the left ")
    longer = vlm.prompt(IMAGE, QUESTION)
    assert len(longer) == len(plain) + 3
    assert words(vlm, longer, "question") == QUESTION.split()


def test_edges_are_parsed_and_mistakes_are_named():
    edge = Edge.parse(" related patches->question ")
    assert str(edge) == "related patches -> question"
    assert edge.crossed == "related patches ↛ question"
    for text, message in {
        "image": "write 'source -> target'",
        "image -> anwser": "unknown segment 'anwser'; choose from",
        "last -> question": "did you mean 'question -> last'",
    }.items():
        with pytest.raises(ValueError, match=message):
            Edge.parse(text)


@pytest.mark.parametrize(
    ("layer", "window", "layers"), [(0, 3, [0, 1]), (5, 3, [4, 5]), (2, 1, [2]), (3, 99, range(6))]
)
def test_windows_are_cut_at_the_ends(layer, window, layers):
    assert list(window_layers(layer, window, 6)) == list(layers)


@pytest.mark.parametrize(("layer", "window"), [(0, 2), (0, 0), (6, 3), (-1, 3)])
def test_windows_without_meaning_are_refused(layer, window):
    with pytest.raises(ValueError, match=r"window|layer"):
        window_layers(layer, window, 6)
