"""Prompts whose text is cut into tokens at the image, compared with LLaVA's published algorithm written out plainly."""

import copy
import json

import pytest
import torch
from tokenizers import processors

from support import compared_families, tiny_models
from support.families.base import QUESTION as FAMILY_QUESTION
from support.noise import noise_image
from vlmflow.edges import Edge, window_layers
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.errors import PromptError
from vlmflow.models.processor import load_processor, load_text_processor
from vlmflow.models.templates import AS_PUBLISHED, template_file
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes.knockout.measure import knockout
from vlmflow.prompts.cut_at_image import CUT_AT_IMAGE
from vlmflow.prompts.model_inputs import chat_text, image_inputs, special_tokens

QUESTION = "Is the small jar full or empty?"
INSTRUCTION = " \nAnswer the question using a single word or phrase."
IMAGE = noise_image((70, 42))
EDGES = ("after image -> last", "image -> question", "question -> last")


def without_beginning(texts):
    """As Llama 3's, but without a token that it puts before texts."""
    tokenizer = tiny_models.byte_level_tokenizer(texts)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


TOKENIZERS = {
    "llama": ("vicuna_v1", tiny_models.byte_fallback_tokenizer),
    "llama 3": ("llava_llama_3", tiny_models.byte_level_tokenizer),
    "llama 3 that adds nothing": ("llava_llama_3", without_beginning),
}


@pytest.fixture(scope="module", params=["llava", "llava_next"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folders(kind, tmp_path_factory):
    """Processors as they are saved, by their tokenizer."""
    found = {}
    for name, (template, tokenizer) in TOKENIZERS.items():
        found[name] = tmp_path_factory.mktemp("processor")
        texts = [QUESTION + INSTRUCTION] * 3
        tiny_models.build_processor(kind, template, texts, tokenizer=tokenizer).save_pretrained(found[name])
    return found


@pytest.fixture(params=TOKENIZERS)
def name(request):
    return request.param


@pytest.fixture
def whole(folders, name):
    """The processor with the template whose text is cut into tokens as one."""
    return load_processor(folders[name], template=TOKENIZERS[name][0])


@pytest.fixture
def published(folders, name):
    """The processor with the template whose text is cut at the image."""
    return load_processor(folders[name], template=f"{TOKENIZERS[name][0]}_as_published")


def as_llava_does(text, tokenizer, image_tokens):
    """The tokens of a prompt, by the published algorithm."""
    chunks = [tokenizer(chunk).input_ids for chunk in text.split("<image>")]
    tokens, offset = [], 0
    if len(chunks) > 0 and len(chunks[0]) > 0 and chunks[0][0] == tokenizer.bos_token_id:
        offset = 1
        tokens.append(chunks[0][0])
    separators = [[-200] * (offset + 1)] * len(chunks)
    for part in [each for pair in zip(chunks, separators, strict=True) for each in pair][:-1]:
        tokens.extend(part[offset:])
    place = tokens.index(-200)
    return tokens[:place] + image_tokens + tokens[place + 1 :]


def model_of(kind, processor):
    return VisionLanguageModel(tiny_models.build_model(kind, processor, answer="full").double(), processor)


def words(prompt, processor, segment):
    return processor.tokenizer.decode(prompt.inputs["input_ids"][0, prompt.positions(segment)]).strip()


def pieces(prompt, processor, segment):
    ids = prompt.inputs["input_ids"][0, prompt.positions(segment)]
    return processor.tokenizer.convert_ids_to_tokens(ids.tolist())


def test_the_tokens_are_those_of_the_published_algorithm(whole, published):
    text = chat_text(published, QUESTION + INSTRUCTION)
    assert text == chat_text(whole, QUESTION + INSTRUCTION)
    image = published.image_token_id
    old, places = image_inputs(whole, IMAGE, text, image)
    inputs, positions = image_inputs(published, IMAGE, text, image)
    tokens = inputs["input_ids"][0].tolist()
    assert tokens == as_llava_does(text, published.tokenizer, [image] * len(places))
    assert tokens != old["input_ids"][0].tolist()
    assert positions.tolist() == [place for place, token in enumerate(tokens) if token == image]
    assert len(positions) == len(places)
    assert inputs["attention_mask"].tolist() == [[1] * len(tokens)]
    assert inputs.keys() == old.keys()
    for other in inputs.keys() - {"input_ids", "attention_mask"}:
        assert torch.equal(inputs[other], old[other])


def test_a_template_without_that_line_leaves_the_processors_own_tokens(whole):
    text = chat_text(whole, QUESTION)
    special = special_tokens(whole.tokenizer, text)
    own = whole(images=[IMAGE], text=[text], return_tensors="pt", **special)
    inputs, _ = image_inputs(whole, IMAGE, text, whole.image_token_id)
    assert inputs.keys() == own.keys()
    assert all(torch.equal(inputs[key], own[key]) for key in own)


def test_a_llama_tokenizer_begins_the_text_after_the_image_with_a_space(kind, folders):
    after = {}
    for template in ("vicuna_v1", "vicuna_v1_as_published"):
        processor = load_processor(folders["llama"], template=template)
        prompt = model_of(kind, processor).prompt(IMAGE, QUESTION)
        after[template] = pieces(prompt, processor, "after image")
    assert after == {"vicuna_v1": ["<0x0A>"], "vicuna_v1_as_published": ["▁", "<0x0A>"]}


def test_a_legacy_llama_tokenizer_gives_both_templates_the_same_tokens(kind, tmp_path):
    tokenizer = tiny_models.byte_fallback_tokenizer
    tiny_models.build_processor(kind, "vicuna_v1", [QUESTION], tokenizer=tokenizer).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"legacy": True}))
    tokens = []
    for template in ("vicuna_v1", "vicuna_v1_as_published"):
        processor = load_processor(tmp_path, template=template)
        text = chat_text(processor, QUESTION)
        tokens.append(image_inputs(processor, IMAGE, text, processor.image_token_id)[0]["input_ids"])
    assert torch.equal(*tokens)


def test_a_tokenizer_that_adds_a_beginning_gives_two_of_them(kind, folders):
    processor = load_processor(folders["llama 3"], template="llava_llama_3_as_published")
    prompt = model_of(kind, processor).prompt(IMAGE, QUESTION)
    start = processor.tokenizer.bos_token_id
    assert prompt.inputs["input_ids"][0, :3].tolist().count(start) == 2
    assert prompt.inputs["input_ids"][0].tolist().count(start) == 2
    assert pieces(prompt, processor, "after image") == ["Ċ"]


def test_a_tokenizer_that_adds_none_loses_the_newline(kind, folders):
    processor = load_processor(folders["llama 3 that adds nothing"], template="llava_llama_3_as_published")
    assert processor.tokenizer("a").input_ids == processor.tokenizer("a", add_special_tokens=False).input_ids
    prompt = model_of(kind, processor).prompt(IMAGE, QUESTION)
    tokens = prompt.inputs["input_ids"][0].tolist()
    assert tokens.count(processor.tokenizer.bos_token_id) == 1
    assert prompt.positions("question")[0] == prompt.positions("image")[-1] + 1
    with pytest.raises(PromptError, match="no token stands between the image and the question"):
        prompt.positions("after image")


def test_every_segment_decodes_back_to_its_words(kind, whole, published):
    objects = {"jar": [(2, 2, 30, 30)]}
    prompts = [
        model_of(kind, processor).prompt(IMAGE, QUESTION, objects, ("full", "empty"), instruction=INSTRUCTION)
        for processor in (whole, published)
    ]
    expected = {"question": QUESTION, "true option": "full", "false option": "empty", "objects": "jar"}
    for segment, text in expected.items():
        assert [words(prompt, published, segment) for prompt in prompts] == [text, text]
    for segment in ("template", "last", "question without options"):
        one, other = (pieces(prompt, published, segment) for prompt in prompts)
        assert one == other
    patches = [prompt.positions("related patches") - prompt.positions("image")[0] for prompt in prompts]
    assert torch.equal(*patches)


def test_a_model_answers_and_its_knockouts_are_those_of_the_plain_method(kind, published):
    vlm = model_of(kind, published)
    prompt = vlm.prompt(IMAGE, QUESTION, instruction=INSTRUCTION)
    assert vlm.answer(prompt).text == "full"
    edges = [edge for edge in EDGES if Edge.parse(edge).source in prompt.segments]
    rows = list(knockout(vlm, prompt, edges, 1).iter_rows(named=True))
    assert len(rows) == len(edges) * 3
    token = int(vlm.model(**prompt.inputs).logits[0, -1].argmax())
    for row in rows:
        edge, span = Edge.parse(row["edge"]), window_layers(row["layer"], 1, 3)
        blocked = AttentionKnockout(prompt.positions(edge.source), prompt.positions(edge.target), span.start, span.stop)
        states = plain(vlm.model, vlm.layers, prompt.inputs, [blocked])
        expected = vlm.logits(states[:, -1]).softmax(-1)[0, token].item()
        assert row["p_knockout"] == pytest.approx(expected, rel=1e-9)
    assert all(any(row["p_knockout"] != row["p_base"] for row in rows if row["edge"] == edge) for edge in edges)


def test_a_prompt_is_continued_by_an_answer(kind, published):
    vlm = model_of(kind, published)
    prompt = vlm.prompt(IMAGE, QUESTION)
    longer = vlm.continue_prompt(prompt, [7, 8])
    assert longer.inputs["input_ids"].tolist() == [[*prompt.inputs["input_ids"][0].tolist(), 7, 8]]
    assert longer.inputs["attention_mask"].tolist() == [[1] * (len(prompt) + 2)]
    assert torch.equal(longer.positions("question"), prompt.positions("question"))


@pytest.mark.parametrize(("text", "before"), [("", False), ("a jar", False), ("a jar", True)])
def test_the_image_with_any_text_is_cut_at_the_image_too(kind, published, text, before):
    vlm = model_of(kind, published)
    prompt = vlm.image_prompt(IMAGE, text, before=before)
    image = [vlm.image_token_id] * len(prompt.positions("image"))
    assert prompt.inputs["input_ids"][0].tolist() == as_llava_does(prompt.text, published.tokenizer, image)
    assert torch.isfinite(vlm.model(**prompt.inputs).logits).all()


def test_patches_can_be_measured(kind, published):
    vlm = model_of(kind, published)
    measured, declared = vlm.measure_patch_map(IMAGE.size), vlm.patch_maps.find(IMAGE.size)
    boxes = [(2, 2, 30, 30)]
    assert measured.tokens == declared.tokens
    assert measured.related(boxes) == declared.related(boxes)


@pytest.mark.parametrize("line", [CUT_AT_IMAGE, "{% set text_around_image='cut separately' %}"])
def test_a_users_own_template_may_ask_for_it(kind, folders, tmp_path, line):
    (tmp_path / "mine.jinja").write_text(f"{line}\nMINE: <image>{{{{ messages[0].content[-1].text }}}}:")
    processor = load_processor(folders["llama"], template=str(tmp_path / "mine.jinja"))
    prompt = model_of(kind, processor).prompt(IMAGE, QUESTION)
    image = [processor.image_token_id] * len(prompt.positions("image"))
    tokens = prompt.inputs["input_ids"][0].tolist()
    assert tokens == as_llava_does(prompt.text, processor.tokenizer, image)
    # The question's first word is another token than in the whole text, where no space is before it.
    assert pieces(prompt, processor, "question")[0].startswith("▁")
    assert words(prompt, processor, "question") == QUESTION


def test_a_saved_processor_keeps_its_template(published, tmp_path):
    published.save_pretrained(tmp_path)
    text = chat_text(published, QUESTION)
    tokens = [
        image_inputs(processor, IMAGE, text, published.image_token_id)[0]["input_ids"]
        for processor in (published, load_processor(tmp_path))
    ]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("name", ["llama", "llama 3"], indirect=True)
def test_captions_have_no_image_to_cut_at(folders, name):
    template = TOKENIZERS[name][0]
    readers = [load_text_processor(folders[name], template=each) for each in (template, f"{template}_as_published")]
    messages = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    one, other = (reader.apply_chat_template(messages, add_generation_prompt=True) for reader in readers)
    assert one == other


@pytest.mark.parametrize(("template", "base"), AS_PUBLISHED.items())
def test_both_templates_are_watched_as_one_file(template, base):
    assert template_file(template) == template_file(base)
    assert template_file(base).is_file()


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("Qwen2-VL", "Qwen2VLProcessor is of another one: its model takes mm_token_type_ids for each token"),
        ("InternVL", "InternVLProcessor is of another one: it writes other tokens around the image"),
    ],
)
def test_other_models_are_refused(family, why):
    vlm = compared_families.model(family)
    processor = copy.copy(vlm.processor)
    processor.chat_template = f"{CUT_AT_IMAGE}\n{processor.chat_template}"
    with pytest.raises(PromptError, match=f"is for the LLaVA models; {why}"):
        VisionLanguageModel(vlm.model, processor).prompt(IMAGE, FAMILY_QUESTION)


def test_a_template_that_does_not_write_the_image_is_refused():
    model, processor = tiny_models.build_instructblip([QUESTION], "full")
    processor.chat_template = f"{CUT_AT_IMAGE}\n{processor.chat_template}"
    with pytest.raises(PromptError, match="writes its placeholder '<image>' 0 times instead of once"):
        VisionLanguageModel(model, processor).prompt(IMAGE, QUESTION)
