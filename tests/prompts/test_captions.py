"""Prompts with captions in place of the image, and the models that read them."""

import io
import json
from itertools import chain

import pytest
import sentencepiece
import torch

from support.language_model import save_language_model
from support.paths import TINY_LLAVA
from vlmflow import load_language_model
from vlmflow.errors import ModelError, PromptError, QuestionError
from vlmflow.models.processor import load_text_processor
from vlmflow.notebook import LanguageModel, VisionLanguageModel
from vlmflow.probes import KnockoutProbe, NormsProbe
from vlmflow.probes.answer import answer_question
from vlmflow.probes.context import prompt_of
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.prompts.build import build_caption_prompt

CAPTIONS = "a red cup. a blue table."
QUESTION = "What color is the cup, red or blue?"
TEXTS = [CAPTIONS, QUESTION, "red blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language-model")
    save_language_model(folder, texts=TEXTS)
    return folder


@pytest.fixture(scope="module")
def reader(folder):
    return load_language_model(folder, device="cpu", template="vicuna_v1")


def decoded(model, prompt, segment):
    return model.processor.tokenizer.decode(prompt.inputs["input_ids"][0, prompt.positions(segment)])


@pytest.mark.parametrize("which", ["reader", "tiny_llava"])
def test_every_segment_of_a_caption_prompt_holds_its_words(request, which):
    model = request.getfixturevalue(which)
    prompt = model.caption_prompt(CAPTIONS, QUESTION, ["cup"], ("red", "blue"), instruction=" Answer in a word.")
    if which == "reader":
        assert decoded(model, prompt, "caption") == CAPTIONS
        assert decoded(model, prompt, "question") == QUESTION
        assert decoded(model, prompt, "true option") == "red"
        assert decoded(model, prompt, "objects") == "cup"
    places = [prompt.positions(name).tolist() for name in ("caption", "question", "template", "last")]
    assert places[0] == list(range(places[0][0], places[0][0] + len(places[0])))
    assert max(places[0]) < min(places[1]), "of the two 'red', the option is the one in the question"
    assert [*chain(*places[1:])] == list(range(places[1][0], len(prompt)))
    for missing in ("image", "related patches", "sinks"):
        with pytest.raises(PromptError, match="reads captions, not the image"):
            prompt.positions(missing)


def test_the_captions_replace_the_image(reader):
    prompt = reader.caption_prompt(CAPTIONS, QUESTION)
    assert prompt.text.endswith(f"USER: {CAPTIONS}\n{QUESTION} ASSISTANT:")
    assert prompt.inputs["input_ids"][0, 0] == reader.processor.tokenizer.bos_token_id


@pytest.mark.parametrize(
    ("captions", "question", "message"),
    [
        (" ", QUESTION, "there are no captions of the image"),
        (CAPTIONS, "", "the question is empty"),
        ("a </s> cup", QUESTION, "the captions .* holds '</s>'"),
        (CAPTIONS, "what <unk>?", "the question .* holds '<unk>'"),
    ],
)
def test_texts_that_cannot_be_in_a_prompt_are_refused(reader, captions, question, message):
    with pytest.raises(PromptError, match=message):
        reader.caption_prompt(captions, question)


def test_a_question_that_the_captions_repeat_is_found_after_them(reader):
    prompt = reader.caption_prompt(f"{CAPTIONS} {QUESTION}", QUESTION)
    assert prompt.positions("question")[0] > prompt.positions("caption")[-1]
    assert decoded(reader, prompt, "caption").endswith(QUESTION)


def test_the_models_own_template_is_used(tmp_path):
    save_language_model(tmp_path, own_template=True, texts=TEXTS)
    model = load_language_model(tmp_path, device="cpu")
    assert model.caption_prompt(CAPTIONS, QUESTION).text == f"<user> {CAPTIONS}\n{QUESTION} answer:"


def test_a_model_without_a_template_needs_one(folder):
    with pytest.raises(ModelError, match="no conversation template of its own; give template: vicuna_v1"):
        load_language_model(folder, device="cpu")


def test_pickled_weights_are_refused(tmp_path):
    save_language_model(tmp_path, texts=TEXTS)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no language model with safetensors weights"):
        load_language_model(tmp_path, device="cpu", template="vicuna_v1")


def test_the_language_model_of_a_vision_language_model_reads_captions(tiny_llava):
    inside = load_language_model(TINY_LLAVA, device="cpu")
    assert type(inside) is LanguageModel
    assert isinstance(tiny_llava, VisionLanguageModel)
    prompt = inside.caption_prompt("circle red", "Is the circle red or blue?")
    alone = inside.model.model.language_model(input_ids=prompt.inputs["input_ids"]).last_hidden_state[0, -1]
    recording = inside.record(prompt)
    torch.testing.assert_close(inside.norm(recording.output[0, -1]), alone, rtol=1e-4, atol=1e-5)


def test_knockouts_of_captions_equal_the_plain_method(reader):
    from vlmflow.edges import EdgeGroup
    from vlmflow.engine.plain import plain
    from vlmflow.probes.knockout.measure import edge_knockouts

    prompt = reader.caption_prompt(CAPTIONS, QUESTION)
    edges = ["caption -> last", "question -> last", "caption -> question"]
    rows = reader.knockout(prompt, edges, 3)
    token = int(reader.model(**prompt.inputs).logits[0, -1].argmax())
    knockouts = [k for edge in edges for _, k in edge_knockouts(EdgeGroup.parse(edge), prompt, 3, 3)]
    states = plain(reader.model, reader.layers, prompt.inputs, knockouts)
    expected = reader.logits(states[:, 0]).softmax(-1)[:, token]
    assert rows["p_knockout"].to_list() == pytest.approx(expected.tolist(), rel=1e-4)


def row(**changes):
    return {
        "question_id": "1",
        "image_id": "1",
        "image": "no image is opened",
        "width": None,
        "height": None,
        "question": QUESTION,
        "answer": "red",
        "structural": "choose",
        "true_option": "red",
        "false_option": "blue",
        "objects": [{"name": "cup", "x": None, "attributes": []}],
        "captions": CAPTIONS,
        "token_ids": [5],
    } | changes


def test_a_question_with_captions_becomes_an_answer_and_rows_of_probes(reader):
    assert answer_question(reader, Question.of(row()))["answer"] == "red"
    probe = KnockoutProbe(kind="knockout", window=1, edges=["caption -> last", "question -> last"])
    assert len(ProbeRun(reader, probe, "captions").measure(Question.of(row()))) == 6
    with pytest.raises(QuestionError, match="the dataset has no captions of its image"):
        prompt_of(reader, Question.of(row(captions=None)), "")


def test_a_window_that_is_larger_than_the_model_is_refused(reader):
    probe = KnockoutProbe(kind="knockout", window=[1, 5], edges=["caption -> last"])
    with pytest.raises(ModelError, match=r"probes\.text\.window: 5 is more than the 3 layers"):
        ProbeRun(reader, probe, "text")


def test_norms_do_not_apply_to_a_model_that_reads_captions(reader):
    with pytest.raises(ModelError, match="no image encoder"):
        ProbeRun(reader, NormsProbe(kind="norms"), "norms").measure(Question.of(row()))


def test_a_configuration_of_no_language_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "of another world"}))
    with pytest.raises(ModelError, match="no language model"):
        load_language_model(tmp_path, device="cpu")


def test_a_tokenizer_may_be_a_sentencepiece_file(tmp_path):
    """As of the Vicuna models: there is a tokenizer.model, and no tokenizer.json."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=model, vocab_size=300, model_type="bpe", byte_fallback=True,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": False} | special
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 400}))
    processor = load_text_processor(tmp_path, template="vicuna_v1")
    prompt = build_caption_prompt(processor, CAPTIONS, QUESTION, options=("red", "blue"))
    ids = prompt.inputs["input_ids"][0]
    assert ids[0] == 1
    words = {
        name: processor.tokenizer.decode(ids[prompt.positions(name)]) for name in ("caption", "question", "options")
    }
    assert words == {"caption": CAPTIONS, "question": QUESTION, "options": "red blue"}
