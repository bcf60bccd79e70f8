"""The private parts of `transformers` that are relied on do what is relied on; and nothing else of the kind is used."""

import inspect
import re
import tomllib

import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version
from transformers import DynamicCache, ProcessorMixin, Qwen3_5TextConfig

from support.families.all import FAMILIES
from support.families.llavas import LLAVAS
from support.paths import ROOT, random_llava
from support.random_prompts import prompt_with_words
from vlmflow import load_model
from vlmflow.engine import internals
from vlmflow.engine.modules import find_decoder

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIBRARY = ROOT / "workflow_scripts" / "vlmflow"
# Public in spite of their depth: what models of the library are made of.
PUBLIC = {"transformers.utils import is_torchvision_available", "transformers.utils.logging"}


@pytest.fixture(scope="module")
def vlm():
    return random_llava()


def test_no_other_module_uses_private_parts():
    private = re.compile(
        r"from transformers\.[\w.]+ import [\w, ]+|\._(?:attn_implementation|supports_|update_model)\w*"
    )
    for path in LIBRARY.rglob("*.py"):
        if path.name == "internals.py" or path.is_relative_to(LIBRARY / "tiny_llava"):
            continue
        found = [text.removeprefix("from ") for text in private.findall(path.read_text())]
        assert not set(found) - PUBLIC, path


def test_attention_is_exchanged_by_its_name_in_the_configuration(vlm):
    decoder, calls = find_decoder(vlm.model), []

    def function(module, query, key, value, attention_mask, **settings):
        calls.append(type(module).__name__)
        return internals.ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **settings)

    internals.ALL_ATTENTION_FUNCTIONS.register("vlmflow_test", function)
    internals.ALL_MASK_ATTENTION_FUNCTIONS.register("vlmflow_test", internals.ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    assert internals.can_exchange_attention(decoder)
    assert internals.attention_of(decoder.config) == "sdpa"
    prompt = prompt_with_words(vlm, [], 2)
    before = vlm.model(**prompt.inputs).logits
    internals.set_attention(decoder.config, "vlmflow_test")
    try:
        assert torch.equal(vlm.model(**prompt.inputs).logits, before)
    finally:
        internals.set_attention(decoder.config, "sdpa")
    assert len(calls) == len(vlm.layers)


def test_inputs_grow_by_a_position(vlm):
    prompt = prompt_with_words(vlm, [], 2)
    others = {name: value for name, value in prompt.inputs.items() if name != "input_ids"}
    assert internals.grown_inputs(vlm.model, others)["attention_mask"].shape[1] == len(prompt) + 1


def test_caches_of_hybrids_have_layers_of_two_kinds():
    config = Qwen3_5TextConfig(num_hidden_layers=4)
    layers = DynamicCache(config=config).layers
    assert [isinstance(layer, internals.LinearAttentionLayer) for layer in layers] == [True, True, True, False]
    assert isinstance(layers[3], internals.DynamicLayer)
    assert isinstance(layers[0].conv_states, dict)
    assert isinstance(layers[0].recurrent_states, dict)
    assert isinstance(layers[0].has_previous_state, dict)
    assert layers[0].number_of_states == 1


def test_shared_keys_are_handed_on_in_a_dictionary(tmp_path):
    FAMILIES["Gemma 4 with shared keys"].build(tmp_path)
    vlm = load_model(tmp_path, device="cpu")
    parameters = inspect.signature(type(vlm.layers[0]).forward).parameters
    assert "shared_kv_states" in parameters
    kinds = [layer.self_attn.layer_type for layer in vlm.layers]
    assert set(kinds) == {"full_attention", "sliding_attention"}
    assert internals.KVSharingDict({"a": (1,)})["a"] == (1,)


def test_a_processor_counts_the_tokens_of_an_image(tmp_path):
    LLAVAS["LLaVA"].build(tmp_path)
    processor = load_model(tmp_path, device="cpu").processor
    assert internals.token_count_of(processor)(image_sizes=[(90, 130)])["num_image_tokens"] == [16]
    assert internals.token_count_of(object()) is None


def test_sizes_of_images_are_those_of_the_processors():
    blank = torch.zeros(1, 60, 100).numpy()
    assert internals.get_resize_output_image_size(blank, 30, False, input_data_format="channels_first") == (30, 50)
    assert internals.get_patch_output_size(blank, (48, 48), "channels_first") == (29, 48)
    assert internals.select_best_resolution((60, 100), [[48, 48], [48, 96]]) == (48, 96)


def test_parts_of_processors_are_loaded_through_one_table():
    parts = internals.processing_utils.MODALITY_TO_AUTOPROCESSOR_MAPPING.keys()
    assert {"image_processor", "video_processor", "tokenizer"} <= set(parts)
    assert "num2words" in vars(internals.processing_smolvlm)
    assert internals.ProcessorMixin is ProcessorMixin
    assert callable(ProcessorMixin.check_argument_for_proper_class)
    for function in (internals.get_feature_extractor_config, internals.get_video_processor_config):
        assert "revision" in inspect.signature(function).parameters
    assert inspect.isclass(internals.PushToHubMixin)


def test_the_lowest_version_of_the_library_is_told():
    """It has everything that is tested here, and is not above the pinned one."""
    (needed,) = (Requirement(each) for each in PROJECT["dependencies"] if Requirement(each).name == "transformers")
    pinned = re.search(r"^transformers==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert Version(pinned) in needed.specifier
    assert any(each.operator == ">=" for each in needed.specifier)
