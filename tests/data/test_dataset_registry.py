"""Every dataset has all its parts: what it says of itself, its files, its images, its reader, a page and a test."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from support.paths import ROOT
from vlmflow.data import DATASETS, dataset_from
from vlmflow.data.base import Dataset
from vlmflow.errors import StudyError
from vlmflow.study import read_study

SOURCES = {kind.model_fields["source"].annotation.__args__[0]: kind for kind in DATASETS}
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture(params=SOURCES)
def source(request):
    return request.param


def test_no_dataset_is_missing_from_the_registry():
    modules = sorted((ROOT / "workflow_scripts" / "vlmflow" / "data").rglob("*.py"))
    written = {path for path in modules if "\n    source: Literal[" in path.read_text()}
    assert len(written) == len(DATASETS) == len(SOURCES)


def test_it_has_a_docstring(source):
    kind = SOURCES[source]
    assert kind.__doc__
    assert kind.__doc__ != Dataset.__doc__
    for name, field in kind.model_fields.items():
        assert name == "source" or field.description, name


def test_it_has_all_methods(source):
    for method in ("files", "image_source", "read"):
        assert getattr(SOURCES[source], method) is not getattr(Dataset, method), method


def test_its_name_alone_is_a_dataset_with_files_and_images(source):
    dataset = dataset_from({"source": source})
    assert type(dataset) is SOURCES[source]
    assert dataset.files()
    images = dataset.image_source()
    assert images.folder.startswith("resources/")
    assert images.needed == ([] if images.url else [images.folder])


def test_its_files_are_downloaded_or_come_from_the_hub_or_are_drawn(source):
    dataset = dataset_from({"source": source})
    files = [path for found in dataset.files().values() for path in ([found] if isinstance(found, str) else found)]
    assert all(path.startswith("resources/") for path in files)
    assert set(dataset.downloads()) <= set(files)
    others = set(files) - set(dataset.downloads())
    elsewhere = [*dataset.gated(), *([dataset.folder] if source == "synthetic" else [])]
    assert all(any(path.startswith(f"{folder}/") for folder in elsewhere) for path in others)


def test_what_its_rows_depend_on_makes_a_dataset_that_reads_the_same(source):
    prompt = {"prompt": "What is it?"} if "prompt" in SOURCES[source].model_fields else {}
    dataset = dataset_from({"source": source} | prompt)
    read = dataset_from(dataset.settings_read())
    assert read.settings_read() == dataset.settings_read() == {"source": source} | prompt


def test_every_address_of_it_is_one_in_a_study(source):
    """Of two datasets of a study that write the same files, none takes them from elsewhere than the other."""
    kind = SOURCES[source]
    fields = {name for name, field in kind.model_fields.items() if str(field.default).startswith("https://")}
    assert bool(fields) == bool(dataset_from({"source": source}).downloads())
    captions = {"captions": "visual-genome"} if "captions" in kind.model_fields else {}
    for name in fields:
        one = {"source": source} | captions
        other = one | {name: f"https://another.example/{Path(kind.model_fields[name].default).name}"}
        tasks = {"One": {"dataset": one}, "Other": {"dataset": other}}
        with pytest.raises(StudyError, match="cannot come from two addresses"):
            read_study(DEMO | {"dataset": one, "tasks": tasks}, "mine.yaml")


def test_its_own_paths_are_checked(source, tmp_path):
    kind = SOURCES[source]
    gone = tmp_path / "gone"
    keys = {name for name, field in kind.model_fields.items() if "Path" in str(field.annotation)}
    dataset = dataset_from({"source": source} | dict.fromkeys(keys, str(gone)))
    problems = dict(dataset.check_paths(lambda path: False))
    assert problems.keys() == keys
    assert all(str(gone) in problem for problem in problems.values())
    assert list(dataset.check_paths(lambda path: True)) == []


def test_an_unknown_key_is_refused(source):
    with pytest.raises(ValidationError, match="Extra inputs"):
        dataset_from({"source": source, "nonsense": 1})


def test_it_is_documented(source):
    assert f"{{source: {source}" in (ROOT / "docs" / "study.md").read_text()


def test_its_reader_is_tested(source):
    module = SOURCES[source].__module__.rsplit(".", 1)[-1]
    tests = [path.read_text() for path in (ROOT / "tests" / "data").glob(f"test_{module}*.py")]
    assert any(".read(" in text or "read_" in text for text in tests)
