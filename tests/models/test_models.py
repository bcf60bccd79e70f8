"""Loading models, asking them, and refusing those that the engine would read wrongly."""

import copy
import shutil

import pytest
import torch
from accelerate import disk_offload, dispatch_model
from PIL import Image

from support.noise import noise_image
from support.paths import TINY_LLAVA, random_llava
from vlmflow import load_model
from vlmflow.data.open_image import open_image
from vlmflow.engine.modules import find_layers, find_norm
from vlmflow.errors import ImageError, InterventionError, ModelError, ProcessorError, PromptError, QuestionError
from vlmflow.models.processor import load_processor
from vlmflow.probes import KnockoutProbe, LensProbe
from vlmflow.probes.answer import answer_question
from vlmflow.probes.context import prompt_of
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.prompts.build import Patches
from vlmflow.prompts.patch_row import patch_row
from vlmflow.tables import ANSWERS, PATCHES, Skipped

IMAGE = Image.new("RGB", (8, 8), "red")
QUESTION = "is the circle red or blue ?"


@pytest.fixture
def vlm():
    return random_llava()


def test_only_safetensors_are_loaded(tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(TINY_LLAVA, folder)
    weights = load_model(folder, device="cpu").model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled: no vision-language model with safetensors weights"):
        load_model(folder, device="cpu")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"there is no model folder .*nothing"):
        load_model(tmp_path / "nothing", device="cpu")
    with pytest.raises(ProcessorError, match="no processor"):
        load_processor(tmp_path)


def test_weights_are_float32_on_a_cpu_unless_asked_otherwise():
    assert load_model(TINY_LLAVA, device="cpu").model.dtype == torch.float32
    assert load_model(TINY_LLAVA, device="cpu", dtype="float64").model.dtype == torch.float64


def test_modules_are_found_or_the_model_is_refused(vlm):
    decoder = vlm.model.get_decoder()
    assert find_layers(vlm.model) is decoder.layers
    assert find_norm(vlm.model) is decoder.norm
    decoder.per_layer_norm = torch.nn.LayerNorm(16)
    assert find_norm(vlm.model) is decoder.norm
    decoder.layer_norm = torch.nn.LayerNorm(16)
    with pytest.raises(ModelError, match="2 final norms"):
        find_norm(vlm.model)
    decoder.more = copy.deepcopy(decoder.layers)
    with pytest.raises(ModelError, match="2 lists of 3 layers"):
        find_layers(vlm.model)


def test_a_model_that_reads_its_answer_in_another_way_is_refused(vlm):
    vlm.model.lm_head.register_forward_hook(lambda module, args, output: output * 3)
    prompt = vlm.prompt(IMAGE, QUESTION)
    vlm.record(prompt)  # a change inside of the unembedding itself is no such thing
    vlm.unembedding = torch.nn.Linear(16, vlm.unembedding.out_features, dtype=torch.float64)
    with pytest.raises(ModelError, match="does not compute its logits as unembedding"):
        vlm.record(prompt)


def test_a_model_that_accelerate_has_dispatched_gives_the_same(vlm, tmp_path):
    """Weights that are fetched for each call, by hooks on every layer: the engine calls the layers all the same."""
    edges = ["image -> question", "question -> last"]
    prompt = vlm.prompt(IMAGE, QUESTION)
    expected, lens, said = vlm.knockout(prompt, edges, 1), vlm.lens(prompt, {"word": "red"}), vlm.answer(prompt)
    disk_offload(vlm.model, tmp_path, execution_device=torch.device("cpu"))
    assert {parameter.device.type for parameter in vlm.model.parameters()} == {"meta"}
    prompt = vlm.prompt(IMAGE, QUESTION)
    assert vlm.knockout(prompt, edges, 1).equals(expected)
    assert vlm.lens(prompt, {"word": "red"}).equals(lens)
    assert vlm.answer(prompt) == said


def test_answers_are_greedy_whatever_the_models_settings_say(vlm):
    prompt = vlm.prompt(IMAGE, QUESTION)
    expected = vlm.answer(prompt, max_new_tokens=3)
    vlm.model.generation_config.do_sample = True
    vlm.model.generation_config.temperature = 50.0
    vlm.model.generation_config.repetition_penalty = 9.0
    vlm.model.generation_config.no_repeat_ngram_size = 1
    settings = vlm.model.generation_config
    assert vlm.answer(prompt, max_new_tokens=3) == expected
    assert vlm.model.generation_config is settings
    logits = vlm.model(**prompt.inputs).logits[0, -1].float()
    assert expected.token_ids[0] == logits.argmax()
    assert expected.probability == pytest.approx(logits.softmax(0).max().item(), rel=1e-5)


@pytest.mark.oracle("lens")
def test_the_lens_ends_where_the_model_ends(vlm):
    prompt = vlm.prompt(IMAGE, QUESTION)
    expected = vlm.model(**prompt.inputs).logits[0, -1].softmax(-1)
    red = vlm.processor.tokenizer.convert_tokens_to_ids("red")
    states = vlm.model(**prompt.inputs, output_hidden_states=True).hidden_states
    for final_norm in (True, False):
        rows = vlm.lens(prompt, {"word": "red"}, final_norm)
        assert rows["layer"].to_list() == [-1, 0, 1, 2]
        assert rows["probability"][-1] == pytest.approx(expected[red].item(), rel=1e-9)
        # transformers' own hidden states: all but the last are before the norm
        for place, state in enumerate(states[:-1]):
            read = vlm.norm(state[0, -1]) if final_norm else state[0, -1]
            direct = vlm.unembedding(read).softmax(-1)[red].item()
            assert rows["probability"][place] == pytest.approx(direct, rel=1e-9)


def question_row(path, **changes):
    box = {"name": "circle", "id": "1", "x": 0.0, "y": 0.0, "w": 4.0, "h": 4.0, "attributes": []}
    row = {
        "task": "T",
        "question_id": "q",
        "image_id": "i",
        "image": str(path),
        "width": 8,
        "height": 8,
        "question": QUESTION,
        "answer": "red",
        "structural": "choose",
        "true_option": "red",
        "false_option": "blue",
        "objects": [box],
        "captions": None,
        "related": None,
        "token_ids": [14],  # red
    }
    return row | changes


@pytest.fixture
def path(tmp_path):
    IMAGE.save(tmp_path / "p.png")
    return tmp_path / "p.png"


def test_a_question_becomes_patches_an_answer_and_rows_of_probes(vlm, path):
    row = question_row(path)
    patches = patch_row(vlm.patch_maps, row, "overlap")
    assert PATCHES.frame([patches]).select("task", "question_id").rows() == [("T", "q")]
    assert patches["related"] == [0]
    answer = answer_question(vlm, Question.of(row), instruction="")
    assert ANSWERS.frame([answer]).select("task", "question_id", "image_id").rows() == [("T", "q", "i")]
    assert answer["correct"] == (answer["predicted"].lower() == "red")
    spelled = row | {"answer": f"the {answer['predicted']}"}
    assert [answer_question(vlm, Question.of(spelled), "", match)["correct"] for match in ("strict", "relaxed")] == [
        False,
        True,
    ]
    described = answer_question(vlm, Question.of(row | {"structural": "describe"}), instruction="")
    assert described == answer | {"correct": None}, "there is no correct answer"
    ANSWERS.frame([described])
    row |= patches
    probe = KnockoutProbe(kind="knockout", window=1, edges=["related patches -> question"])
    flow = ProbeRun(vlm, probe, "flow").measure(Question.of(row))
    assert KnockoutProbe.table.frame(flow).select("task", "question_id", "image_id").rows() == 3 * [("T", "q", "i")]
    lens = ProbeRun(vlm, LensProbe(kind="lens"), "tracking").measure(Question.of(row))
    assert set(LensProbe.table.frame(lens)["word"]) == {
        "capitalised answer",
        "lowercase answer",
        "capitalised false option",
        "false option",
    }


def test_an_edge_that_blocks_nothing_costs_itself_only(vlm, path):
    """The object's word is the question's first: nothing of the rest of the question stands before it."""
    row = question_row(path, question="circle is red or blue ?")
    edges = ["question without objects -> objects", "question -> last"]
    run = ProbeRun(vlm, KnockoutProbe(kind="knockout", window=1, edges=edges), "flow")
    assert set(run.measure(Question.of(row))["edge"]) == {"question -> last"}
    why = "all of 'objects' stands before 'question without objects' in this question, and attends to none of it"
    assert run.skipped == [Skipped("q", edges[0], why)]


def test_questions_that_cannot_be_measured_are_refused(vlm, path, tmp_path):
    truncated = tmp_path / "cut.png"
    noise_image(64).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:900])
    for image in (truncated, tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match="cannot be read"):
            open_image(str(image))
    absent = {"name": "mud", "id": None, "x": None, "y": None, "w": None, "h": None, "attributes": []}
    outside = {"name": "circle", "id": "1", "x": 90.0, "y": 0.0, "w": 4.0, "h": 4.0, "attributes": []}
    for changes, message in (
        ({"objects": [absent]}, "no box"),
        ({"objects": [outside]}, "outside of the image, which has 8 × 8 pixels"),
        ({"width": 9}, "made for 9 × 8 pixels, but the image has 8 × 8"),
    ):
        with pytest.raises(QuestionError, match=message):
            patch_row(vlm.patch_maps, question_row(path, **changes), "overlap")
    with pytest.raises(QuestionError, match="the question is empty"):
        prompt_of(vlm, Question.of(question_row(path, question="")), "")


@pytest.mark.parametrize("related", [[0], [8]])
def test_a_grid_that_is_not_the_models_costs_only_the_patches(vlm, path, related):
    prompt = prompt_of(vlm, Question.of(question_row(path, related=related, tokens=9, no_patch=[])), "")
    assert len(prompt.positions("image")) == 4
    with pytest.raises(PromptError, match="became 4 tokens, but its patch map has 9"):
        prompt.positions("related patches")


def test_an_empty_answer_is_a_wrong_one(vlm, path):
    with torch.no_grad():
        vlm.unembedding.weight[vlm.processor.tokenizer.eos_token_id] = (
            100 * vlm.record(vlm.prompt(IMAGE, QUESTION)).output[0, -1]
        )
    answer = answer_question(vlm, Question.of(question_row(path)), instruction="")
    ANSWERS.frame([answer])
    assert (answer["predicted"], answer["token_ids"], answer["correct"]) == ("", [], False)
    assert (answer["tokens"], answer["token_probabilities"]) == ([], [])
    assert answer["probability"] > 0.9
    row = question_row(path) | {"token_ids": answer["token_ids"]}
    last = KnockoutProbe(kind="knockout", window=1, edges=["image -> question"], token="last")
    with pytest.raises(QuestionError, match="answer is empty, so it has no sub-word"):
        ProbeRun(vlm, last, "last").measure(Question.of(row))


def test_logits_that_are_no_numbers_give_no_answer(vlm, path):
    with torch.no_grad():
        vlm.unembedding.weight[0, 0] = float("nan")
    with pytest.raises(QuestionError, match="logits are not finite numbers; another dtype may help"):
        answer_question(vlm, Question.of(question_row(path)), instruction="")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has no two GPUs")
def test_a_model_on_two_cards_measures_what_it_measures_on_one(tmp_path):
    edges = ["image -> question", "question -> last"]
    one = load_model(TINY_LLAVA, device="cuda:0", dtype="float32")
    two = load_model(TINY_LLAVA, device="cuda:0", dtype="float32")
    halves = {"model.vision_tower": 0, "model.multi_modal_projector": 0, "model.language_model.embed_tokens": 0}
    halves |= {
        f"model.language_model.layers.{layer}": int(layer >= len(two.layers) // 2) for layer in range(len(two.layers))
    }
    halves |= {"model.language_model.norm": 1, "model.language_model.rotary_emb": 0, "lm_head": 1}
    dispatch_model(two.model, halves)
    assert {parameter.device.index for parameter in two.model.parameters()} == {0, 1}
    measured = [
        vlm.knockout(vlm.prompt(Image.new("RGB", (96, 96), "red"), "Is the circle red or blue?"), edges, 3)
        for vlm in (one, two)
    ]
    assert (measured[0]["p_knockout"] - measured[1]["p_knockout"]).abs().max() < 1e-5


def test_an_edge_that_a_question_does_not_have_is_left_out_alone(vlm, path):
    edges = ["related patches -> question", "image -> question"]
    run = ProbeRun(vlm, KnockoutProbe(kind="knockout", window=1, edges=edges), "flow")
    assert run.measure(Question.of(question_row(path)))["edge"].unique().to_list() == ["image -> question"]
    assert run.skipped == [Skipped("q", edges[0], "this prompt has no 'related patches': it was built without boxes")]
    lonely = KnockoutProbe(kind="knockout", window=1, edges=["false option -> last"])
    run = ProbeRun(vlm, lonely, "flow")
    with pytest.raises(QuestionError, match="no edge of the probe applies to this question"):
        run.measure(Question.of(question_row(path, false_option="green")))
    assert "'green' is not in the question" in run.skipped[-1].reason


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_knockouts_in_half_precision_are_close_to_float32(dtype):
    """Runs as it is, and says what float32 says to within half precision's own error."""
    edges = ["image -> question", "question -> last"]
    half, single = random_llava(dtype=dtype), random_llava(dtype=torch.float32)
    with torch.no_grad():
        for mine, theirs in zip(single.model.parameters(), half.model.parameters(), strict=True):
            mine.copy_(theirs)
    measured, expected = (model.knockout(model.prompt(IMAGE, QUESTION), edges, 3) for model in (half, single))
    assert measured["p_base"][0] == pytest.approx(expected["p_base"][0], rel=0.05)
    assert (measured["p_knockout"] / expected["p_knockout"] - 1).abs().max() < 0.1
    half.lens(half.prompt(IMAGE, QUESTION), {"word": "red"}, final_norm=False)


def test_a_model_that_changes_states_between_its_layers_is_refused_where_it_matters(vlm):
    """As Qwen3-VL adds image features after its first layers: at image positions only."""

    def change(module, args, kwargs):
        hidden = args[0].clone()
        hidden[:, image] += 1
        return (hidden, *args[1:]), kwargs

    prompt = vlm.prompt(IMAGE, QUESTION, patches=Patches(4, [0]))
    image = prompt.positions("image")
    vlm.layers[1].register_forward_pre_hook(change, with_kwargs=True)
    vlm.knockout(prompt, ["image -> question"], 1)
    with pytest.raises(InterventionError, match="changes states between its layers"):
        vlm.knockout(prompt, ["image -> image"], 1)


def test_probabilities_that_are_no_numbers_drop_the_question(vlm, path, monkeypatch):
    probe = KnockoutProbe(kind="knockout", window=1, edges=["image -> question"])
    monkeypatch.setattr(vlm, "replay", lambda *_: torch.full((3, 1, 16), float("nan")).double())
    with pytest.raises(QuestionError, match="not finite numbers"):
        ProbeRun(vlm, probe, "flow").measure(Question.of(question_row(path)))
