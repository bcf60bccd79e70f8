"""Folders of models that are incomplete or damaged: each is refused with what is missing."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.paths import TINY_LLAVA
from vlmflow import load_model
from vlmflow.errors import ModelError, ProcessorError
from vlmflow.models.processor import load_processor


def cut(name, length):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def split(folder):
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def fewer(folder):
    weights = load_file(folder / "model.safetensors")
    del weights[sorted(weights)[5]]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def narrower(folder):
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[5]
    save_file(weights | {name: weights[name][:-1].clone()}, folder / "model.safetensors", {"format": "pt"})


def foreign(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "foreign.Config"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled, r"its weights are no safetensors but pickled \(pytorch_model\.bin\).*save them as safetensors"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            r"there are no weights: model\.safetensors is missing",
        ),
        (cut("model.safetensors", 3_000_000), r"model\.safetensors is cut off, or not a safetensors file"),
        (cut("model.safetensors", 0), r"model\.safetensors is cut off, or not a safetensors file"),
        (split, r"two\.safetensors is missing, which model\.safetensors\.index\.json names"),
        (fewer, r"the weights are incomplete: 1 are missing, such as model\.language_model"),
        (narrower, r"its weights have other shapes than config\.json says"),
        (foreign, "it needs code of its own, and no code from outside is run"),
        (cut("config.json", 5), r"config\.json is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json holds no JSON object"),
        (lambda folder: (folder / "config.json").unlink(), r"there is no model: config\.json is missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"there is no tokenizer \(tokenizer\.json"),
        (cut("tokenizer.json", 99), r"tokenizer\.json is no JSON"),
        (cut("processor_config.json", 9), r"processor_config\.json is no JSON"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no conversation template of its own; give"),
    ],
)
def test_an_incomplete_or_damaged_model_folder_is_refused(tmp_path, change, message):
    folder = tmp_path / "mine"
    shutil.copytree(TINY_LLAVA, folder)
    change(folder)
    with pytest.raises(ModelError, match=f"{folder}: .*{message}"):
        load_model(folder, device="cpu")


def test_a_processor_alone_is_refused_for_the_same_reason(tmp_path):
    shutil.copytree(TINY_LLAVA, tmp_path / "mine")
    cut("tokenizer.json", 99)(tmp_path / "mine")
    with pytest.raises(ProcessorError, match=r"mine: no processor could be loaded: tokenizer\.json is no JSON"):
        load_processor(tmp_path / "mine")
