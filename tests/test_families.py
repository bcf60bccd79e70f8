"""Families of vision-language models: each is loaded as its hub has it, and measured as by the plain method, or it is
refused by name."""

from importlib.util import find_spec

import pytest
import torch
from families import QUESTION
from families_grids import FAMILIES as GRIDS
from families_others import FAMILIES as OTHERS
from PIL import Image

from vlmflow import load_model
from vlmflow.edges import Edge
from vlmflow.kinds import ModelError
from vlmflow.plain import plain
from vlmflow.probes.knockout import edge_knockouts

FAMILIES = {**GRIDS, **OTHERS}
EDGES = ("image -> question", "image -> last", "question -> last", "last -> last")


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices so small are faster without others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loaded(family, folder):
    """The model as written into the folder, computing in float64."""
    family.build(folder)
    template = str(folder / "mine.jinja") if family.template == "folder" else family.template
    return load_model(folder, device="cpu", dtype="float64", template=template)


def is_lacking(family):
    return family.needs is not None and find_spec(family.needs) is None


MEASURED = [name for name, family in FAMILIES.items() if not family.refused and not is_lacking(family)]


def prompt_of(vlm):
    torch.manual_seed(0)
    noise = Image.fromarray(torch.randint(0, 256, (90, 130, 3), dtype=torch.uint8).numpy())
    boxes = {"circle": [(10, 10, 30, 30)]}
    return vlm.prompt(noise, QUESTION, objects=boxes, options=("red", "blue"))


@pytest.mark.parametrize("name", MEASURED)
def test_a_family_is_measured(name, tmp_path):
    family = FAMILIES[name]
    vlm = loaded(family, tmp_path)
    prompt = prompt_of(vlm)
    assert_segments(vlm, prompt)
    if family.refused_at_record:
        with pytest.raises(ModelError, match=family.refused_at_record):
            vlm.record(prompt)
        return
    said = vlm.answer(prompt, max_new_tokens=3)
    assert 0 < said.probability < 0.99
    assert_equal_to_plain(vlm, prompt, family.tolerance)
    own = vlm.model(**prompt.inputs).logits[0, -1].softmax(-1)
    read = vlm.lens(prompt, {"word": "red"})["probability"][-1]
    word = vlm.processor.tokenizer("red", add_special_tokens=False).input_ids[0]
    assert read == pytest.approx(own[word].item(), rel=1e-9)
    assert said.probability == pytest.approx(own.max().item(), rel=1e-5)


def assert_segments(vlm, prompt):
    tokens = prompt.inputs["input_ids"][0]

    def words(segment):
        return vlm.processor.tokenizer.decode(tokens[prompt.positions(segment)]).strip()

    assert (words("question"), words("true option"), words("false option")) == (QUESTION, "red", "blue")
    assert words("objects") == "circle"
    image = prompt.positions("image")
    assert len(image) > 0
    assert (tokens[image] == vlm.image_token_id).all()
    assert prompt.positions("last").item() == len(prompt) - 1
    # Where image tokens lie on the image is not guessed.
    for segment in ("related patches", "other patches"):
        assert segment not in prompt.segments
        assert any(word in prompt.missing[segment] for word in ("no patch map", "do not apply", "not known"))


def assert_equal_to_plain(vlm, prompt, tolerance):
    recording = vlm.record(prompt)
    there = [edge for edge in map(Edge.parse, EDGES) if edge.source in prompt.segments]
    knockouts = [
        knockout
        for edge in there
        for window in (1, 3)
        for knockout in edge_knockouts(edge, prompt, window, len(vlm.layers))
    ]
    fast = vlm.replay(recording, knockouts)
    slow = plain(vlm.model, vlm.layers, prompt.inputs, knockouts)
    difference = ((fast - slow).abs().max() / slow.abs().max()).item()
    print(f"{len(prompt.positions('image'))} image tokens, {difference:.1e}")  # shown by pytest -rP
    assert difference <= tolerance
    # The check has teeth: knockouts change the state.
    changed = (slow[:, 0] - recording.output[0, -1]).abs().amax(dim=1) / slow.abs().max()
    assert (changed > 1e-4).float().mean() > 0.5


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.refused])
def test_a_family_is_refused_by_name(name, tmp_path):
    with pytest.raises(ModelError, match=FAMILIES[name].refused):
        loaded(FAMILIES[name], tmp_path)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if is_lacking(family)])
def test_what_a_family_needs_is_named(name, tmp_path):
    with pytest.raises(ModelError, match=FAMILIES[name].needs):
        loaded(FAMILIES[name], tmp_path)


def test_older_hubs_have_no_file_for_the_video_part(tmp_path):
    FAMILIES["Qwen2-VL"].build(tmp_path)
    (tmp_path / "video_preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").unlink()
    assert len(prompt_of(load_model(tmp_path, device="cpu")).positions("image")) == 15
