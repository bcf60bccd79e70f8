"""The datasets of one study: each comes from one address, and those with captions are where captions are read."""

import pytest

from support.studies import changed_demo
from vlmflow.data.base import Download, HubDataset
from vlmflow.errors import StudyError
from vlmflow.study import read_study


def test_a_model_that_reads_captions_needs_a_dataset_with_captions():
    config = changed_demo("models/reader", {"path": "x", "reads": "captions"})
    config["probes"]["text"] = {"kind": "knockout", "edges": ["caption -> last"], "window": 3}
    read_study(config, "mine.yaml")
    config["tasks"]["H"] = {"dataset": {"source": "ok-vqa"}}
    with pytest.raises(StudyError, match=r"tasks\.H\.dataset: its images have no captions for the model 'reader'"):
        read_study(config, "mine.yaml")
    config["probes"]["text"]["tasks"] = ["ChooseRel"]
    config["probes"] = {"text": config["probes"]["text"]}
    config["figures"] = config["claims"] = {}
    read_study(config, "mine.yaml")
    config["dataset"] = {"source": "gqa"}
    with pytest.raises(StudyError, match=r"dataset: its images have no captions .* captions: visual-genome"):
        read_study(config, "mine.yaml")
    config["dataset"]["captions"] = "visual-genome"
    read_study(config, "mine.yaml")


def test_coco_comes_from_one_address():
    config = changed_demo("tasks/H", {"dataset": {"source": "ok-vqa", "coco_url": "https://one.example"}})
    config["tasks"]["I"] = {"dataset": {"source": "a-okvqa", "coco_url": "https://two.example"}}
    with pytest.raises(StudyError, match="COCO cannot come from two addresses in one study"):
        read_study(config, "mine.yaml")


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            {"source": "a-okvqa"},
            {"source": "coco-captions", "coco_url": "https://two.example"},
            "COCO cannot come from",
        ),
        (
            {"source": "coco-captions", "url": "https://one.example/a.zip"},
            {"source": "coco-captions"},
            r"COCO's captions cannot come .* https://one\.example/a\.zip, https://s3\.amazonaws\.com/images\.coco.*\.zip",
        ),
        (
            {"source": "winoground", "revision": "abc"},
            {"source": "winoground"},
            "Winoground cannot come from two addresses in one study: facebook/winoground at abc, facebook/wino",
        ),
    ],
)
def test_captions_come_from_one_address(one, other, message):
    config = changed_demo("tasks/H", {"dataset": one})
    read_study(config, "mine.yaml")
    config["tasks"]["I"] = {"dataset": other}
    with pytest.raises(StudyError, match=message):
        read_study(config, "mine.yaml")


def test_images_that_are_to_be_described_have_no_captions_to_read():
    config = changed_demo("models/reader", {"path": "x", "reads": "captions"})
    config["probes"]["text"] = {"kind": "knockout", "edges": ["caption -> last"], "window": 3}
    for source in ("coco-captions", "winoground"):
        config["tasks"] = {"H": {"dataset": {"source": source}}}
        with pytest.raises(StudyError, match=r"tasks\.H\.dataset: its images have no captions for the model 'reader'"):
            read_study(config, "mine.yaml")
    config = changed_demo("dataset", {"source": "coco-captions"})
    config["tasks"] = {"Describe": {"structural": "describe", "semantic": "caption"}}
    study = read_study(config, "mine.yaml")
    assert study.dataset.prompt == "Describe the picture in one sentence."
    assert study.gated == {}
    study = read_study(changed_demo("tasks/H", {"dataset": {"source": "winoground", "revision": "abc"}}), "mine.yaml")
    assert study.gated == {"resources/winoground": HubDataset("facebook/winoground", "abc")}


def test_gqa_comes_from_one_address():
    config = changed_demo("dataset", {"source": "gqa-paper", "gqa_url": "https://one.example"})
    table = {
        "table": "accuracy",
        "model": "tiny-llava",
        "dataset": {"source": "gqa", "base_url": "https://two.example/"},
    }
    config["tables"] = {"t": table}
    with pytest.raises(StudyError, match=r"two addresses in one study: https://one\.example, https://two\.example"):
        read_study(config, "mine.yaml")


def test_the_papers_files_come_from_one_address():
    config = changed_demo(
        "dataset", {"source": "gqa-paper", "sha256": {"a.csv": "0" * 64}, "base_url": "https://one.example"}
    )
    source = Download("https://one.example/a.csv", sha256="0" * 64)
    assert read_study(config, "x").downloads == {"resources/gqa-paper/a.csv": source}
    other = {"source": "gqa-paper", "sha256": {"a.csv": "1" * 64}}
    config["tables"] = {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": other}}
    with pytest.raises(StudyError, match=r"a\.csv cannot come from two addresses"):
        read_study(config, "mine.yaml")
    config = changed_demo(
        "tables", {"t": {"table": "accuracy", "model": "tiny-llava", "dataset": {"source": "gqa-paper"}}}
    )
    assert len(read_study(config, "x").downloads) == 6
