"""Families of vision-language models: each is loaded as its hub has it, and measured as by the plain method, or it is
refused by name."""

import json
import re
from importlib.util import find_spec

import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from support.compared_families import assert_equal_to_plain, loaded, measured_families, model, one_thread, prompt_of  # noqa: F401 (a fixture)
from support.families.all import FAMILIES
from support.families.base import QUESTION
from support.families.llavas import LLAVAS
from support.family_table import PAGE, WRITES, check_row, lacking_row, measured_row, refused_row, write_page
from vlmflow import load_model
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.errors import ModelError
from vlmflow.models.refused_families import REFUSED_FAMILIES


def is_lacking(family):
    return family.needs is not None and find_spec(family.needs) is None


MEASURED = measured_families()


@pytest.mark.parametrize("name", MEASURED)
def test_a_family_is_measured(name):
    family, vlm = MEASURED[name], model(name)
    prompt = prompt_of(vlm)
    assert_segments(vlm, prompt, family)
    if family.refused_at_record:
        with pytest.raises(ModelError, match=family.refused_at_record) as caught:
            vlm.record(prompt)
        check_row("refused", name, refused_row(name, f": {caught.value}"))
        return
    said = vlm.answer(prompt, max_new_tokens=3)
    assert 0 < said.probability < 0.99
    difference = assert_equal_to_plain(vlm, prompt, family.tolerance)
    if not family.needs:
        check_row("measured", name, measured_row(name, family, vlm, prompt, difference))
    own = vlm.model(**prompt.inputs).logits[0, -1].softmax(-1)
    read = vlm.lens(prompt, {"word": "red"})["probability"][-1]
    word = vlm.processor.tokenizer("red", add_special_tokens=False).input_ids[0]
    assert read == pytest.approx(own[word].item(), rel=1e-9)
    assert said.probability == pytest.approx(own.max().item(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name, family in MEASURED.items() if not family.refused_at_record])
def test_nothing_but_the_image_and_its_surroundings_carries_it(name):
    """With these cut from all later positions in all layers, two images give the same states and answers, exactly."""
    vlm, states, intact = model(name), [], []
    for seed in (0, 1):
        prompt = prompt_of(vlm, seed)
        names = ("image", "image separators", "after image")
        sources = torch.cat([prompt.segments[segment] for segment in names if segment in prompt.segments])
        targets = torch.arange(int(sources.max()) + 1, len(prompt))
        recording = vlm.record(prompt)
        intact.append(recording.output[0, targets])
        knockout = AttentionKnockout(sources, targets, 0, len(vlm.layers))
        states.append(vlm.replay(recording, [knockout], positions=targets)[0])
    # Layers without attention carry it on.
    assert torch.equal(*states) == (not recording.recurrent)
    assert not torch.allclose(*intact), "the image matters otherwise"


def assert_segments(vlm, prompt, family):
    tokens = prompt.inputs["input_ids"][0]

    def words(segment):
        return vlm.processor.tokenizer.decode(tokens[prompt.positions(segment)]).strip()

    assert (words("question"), words("true option"), words("false option")) == (QUESTION, "red", "blue")
    assert words("objects") == "circle"
    image = prompt.positions("image")
    assert len(image) > 0
    assert (tokens[image] == vlm.image_token_id).all()
    assert prompt.positions("last").item() == len(prompt) - 1
    # Every position from the image on belongs to a segment.
    names = ("image", "image separators", "after image", "question", "template", "last")
    covered = torch.cat([prompt.segments[segment] for segment in names if segment in prompt.segments])
    assert covered.sort().values.tolist() == list(range(int(image[0]), len(prompt)))
    patches = ("related patches", "other patches")
    if family.no_patches:
        assert all(family.no_patches in prompt.missing[segment] for segment in patches)
        return
    related, other = (set(prompt.positions(segment).tolist()) for segment in patches)
    assert related
    assert not related & other
    assert related | other <= set(image.tolist())


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.refused])
def test_a_family_is_refused_by_name(name, tmp_path):
    with pytest.raises(ModelError, match=FAMILIES[name].refused) as caught:
        loaded(FAMILIES[name], tmp_path)
    check_row("refused", name, refused_row(name, str(caught.value)))


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if is_lacking(family)])
def test_a_package_that_a_family_needs_is_named(name, tmp_path):
    with pytest.raises(ModelError, match=FAMILIES[name].needs):
        loaded(FAMILIES[name], tmp_path)
    check_row("lacking", name, lacking_row(name, FAMILIES[name]))


def test_older_hubs_have_no_file_for_videos(tmp_path):
    FAMILIES["Qwen2-VL"].build(tmp_path)
    (tmp_path / "video_preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").unlink()
    assert len(prompt_of(load_model(tmp_path, device="cpu")).positions("image")) == 15


def test_every_family_of_the_library_is_measured_or_refused(tmp_path):
    """Each kind of `AutoModelForImageTextToText` is built by a family here."""
    built = set()
    for number, family in enumerate({**FAMILIES, **LLAVAS}.values()):
        family.build(tmp_path / str(number))
        config = json.loads((tmp_path / str(number) / "config.json").read_text())
        built.add(config["model_type"])
    assert set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) <= built


def test_refused_families_are_known_to_the_library():
    assert set(REFUSED_FAMILIES) <= set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def test_the_page_has_no_other_families():
    """Last, when all rows are there to be written."""
    if WRITES:
        write_page()
    names = {*FAMILIES, *LLAVAS}
    in_tables = re.findall(r"^\| ([^|`]+) \|", PAGE.read_text().split("<!-- measured -->")[1], re.MULTILINE)
    assert set(in_tables) - {"family", "---"} == names
    assert f"transformers {transformers.__version__}" in PAGE.read_text()
