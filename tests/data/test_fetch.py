"""Which questions have images, tables of tasks and accuracy, and contact sheets."""

import zipfile

import numpy as np
import polars as pl
import pytest
from PIL import Image
from transformers import LlavaImageProcessorPil

from support import tiny_models
from support.paper_rows import table, write_gqa, write_paper_files
from support.servers import serving
from vlmflow.analysis.group_accuracy import accuracy_rows
from vlmflow.data.base import ImageSource
from vlmflow.data.coco import COCO_NAMES
from vlmflow.data.fetch.images import with_images
from vlmflow.data.sampling import sample
from vlmflow.jobs.job import for_each_question
from vlmflow.prompts.contact_sheet import GAP, HEIGHT, TEXT, contact_sheet
from vlmflow.prompts.patch_row import patch_row
from vlmflow.report import tables
from vlmflow.tables import ANSWERS, CANDIDATES, PATCHES, SKIPPED, TASK


def gqa(folder, url):
    """Images as GQA has them."""
    return ImageSource(str(folder), url, "images.zip", "images/{image_id}.jpg")


EVIL = "<script>alert(1)</script>"


@pytest.fixture
def paper(tmp_path):
    """(candidates, folder of their images)."""
    write_gqa(tmp_path / "gqa", images=6)
    write_paper_files(tmp_path / "gqa", tmp_path / "files")
    rows = [{k: v for k, v in row.items() if k != "problem"} for row in table(sorted((tmp_path / "files").iterdir()))]
    return CANDIDATES.frame(rows), tmp_path / "gqa" / "images"


def test_images_that_are_there_are_used_in_place(paper):
    candidates, folder = paper
    kept, skipped = with_images(candidates, ImageSource(str(folder)), task="T")
    assert len(TASK.frame(kept)) == len(candidates)
    assert len(SKIPPED.frame(skipped)) == 0
    (folder / "2.jpg").unlink()
    (folder / "3.jpg").rename(folder / "3.png")
    kept, skipped = with_images(candidates, ImageSource(str(folder)), task="T")
    assert set(skipped["question_id"]) == set(candidates.filter(pl.col("image_id") == "2")["question_id"])
    assert "there is no image 2 (.jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, .tiff) in" in skipped["reason"][0]
    assert kept.filter(pl.col("image_id") == "3")["image"].unique().to_list() == [str(folder / "3.png")]
    assert len(kept) + len(skipped) == len(candidates)


@pytest.mark.parametrize("name", ["{}.jpg", "{}.JPG", "{}.Jpeg", "{}.PNG", "{}.webp", "{}.TIF"])
def test_endings_in_any_case(paper, name):
    candidates, folder = paper
    (folder / "2.jpg").rename(folder / name.format(2))
    kept, skipped = with_images(candidates, ImageSource(str(folder)), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / name.format(2))]
    assert len(skipped) == 0


def test_of_several_images_of_one_name_always_the_same_is_taken(paper):
    candidates, folder = paper
    for name in ("2.JPG", "2.PNG", "2.png", "2.Jpg"):
        (folder / name).write_bytes((folder / "2.jpg").read_bytes())
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / "2.jpg")]


@pytest.mark.parametrize(
    "name",
    ["2.jpg", "000000000002.jpg", "COCO_val2014_000000000002.jpg", "COCO_train2014_000000000002.JPG"],
)
def test_cocos_own_names(paper, name):
    candidates, folder = paper
    (folder / "2.jpg").rename(folder / name)
    kept, _ = with_images(candidates, ImageSource(str(folder), names=COCO_NAMES), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / name)]
    # Another dataset's numbers mean other images.
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    assert ("2" in set(kept["image_id"])) == (name == "2.jpg")


@pytest.mark.parametrize("name", ["../0", "..", "a/b", "a\\b", "", "/etc/passwd", "a\0b", ".hidden"])
def test_names_that_would_leave_the_folder(paper, name, tmp_path):
    candidates, folder = paper
    candidates = candidates.head(2).with_columns(image_id=pl.Series([name, candidates["image_id"][0]]))
    for url in (None, "http://127.0.0.1:9"):
        if url is None or (folder / f"{candidates['image_id'][1]}.jpg").is_file():
            kept, skipped = with_images(candidates, gqa(folder, url), task="T")
            assert len(kept) == 1
            assert "is not a name of an image" in skipped["reason"][0]


def test_missing_images_are_fetched(paper, tmp_path):
    candidates, folder = paper
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "images.zip", "w") as archive:
        for image in sorted(folder.iterdir())[:-1]:
            archive.write(image, f"images/{image.name}")
    mine = tmp_path / "mine" / "images"
    with serving(tmp_path / "served") as server:
        kept, skipped = with_images(candidates, gqa(mine, server.url), task="T")
        assert {path.name for path in mine.iterdir()} == {path.name for path in sorted(folder.iterdir())[:-1]}
        assert len(kept) + len(skipped) == len(candidates)
        assert set(skipped["reason"]) == {f"there is no images/5.jpg in {server.url}/images.zip"}
        server.requests.clear()
        with_images(kept.drop("image"), gqa(mine, server.url), task="T")
        assert server.requests == []


def test_images_with_addresses_of_their_own(paper, tmp_path):
    candidates, folder = paper
    name = "val2014/COCO_val2014_{number:012d}.jpg"
    for image in sorted(folder.iterdir())[:-1]:
        served = tmp_path / "served" / name.format(number=int(image.stem))
        served.parent.mkdir(parents=True, exist_ok=True)
        served.write_bytes(image.read_bytes())
    odd = candidates.head(1).with_columns(image_id=pl.lit("no-number"))
    with serving(tmp_path / "served") as server:
        source = ImageSource(str(tmp_path / "coco" / "val2014"), server.url, None, name)
        kept, skipped = with_images(pl.concat([candidates, odd]), source, task="T")
    assert set(kept["image"]) == {str(tmp_path / "coco" / "val2014" / f"{number}.jpg") for number in range(5)}
    reasons = set(skipped["reason"])
    assert any("COCO_val2014_000000000005.jpg: the server answers 404" in reason for reason in reasons)
    assert any("'no-number' is not a number" in reason for reason in reasons)
    assert len(reasons) == 2


def test_no_questions(tmp_path):
    kept, skipped = with_images(CANDIDATES.frame([]), gqa(tmp_path, "http://127.0.0.1:9"), task="T")
    assert (len(kept), len(skipped)) == (0, 0)


def test_the_table_of_tasks(paper):
    candidates, folder = paper
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    evil = kept.with_columns(question=pl.lit(EVIL))
    rows = [tables.task_row("T", evil), tables.task_row("Empty", TASK.frame([]))]
    assert (rows[0]["questions"], rows[0]["images"], rows[0]["kind"]) == (len(kept), 6, "both")
    page = tables.tasks_page(rows, EVIL)
    assert "<script" not in page
    assert "data:image/jpeg;base64," in page
    written = tables.without_images(rows)
    assert written["questions"].to_list() == [len(kept), 0]


def test_the_table_of_accuracies(paper):
    candidates, folder = paper
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    answers = ANSWERS.frame(
        [
            {
                "question_id": row["question_id"],
                "image_id": row["image_id"],
                "predicted": "left",
                "answer": row["answer"],
                "correct": row["answer"] in ("left", "yes"),
                "probability": 0.5,
                "token_ids": [1],
            }
            for row in kept.to_dicts()
        ]
    )
    groups = accuracy_rows(kept, answers)
    assert groups["structural"].to_list() == ["query", "choose", "choose", "choose", "logical", "compare"]
    for row in groups.to_dicts():
        inside = kept.filter(pl.col("structural") == row["structural"], pl.col("semantic") == row["semantic"])
        right = answers.join(inside, on="question_id", how="semi")["correct"]
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["questions"] == len(inside)
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    # What is never or always right has an interval all the same.
    sure = groups.filter(pl.col("accuracy").is_in([0.0, 1.0]))
    assert len(sure)
    assert ((sure["high"] - sure["low"]) > 0.2).all()
    page = tables.accuracy_page(groups, "T", EVIL)
    assert "<script" not in page
    assert page.count("<tr>") == 5  # the head, and four structural types
    odd = groups.with_columns(structural=pl.lit("count"), semantic=pl.lit("number")).head(1)
    page = tables.accuracy_page(pl.concat([groups, odd]), "T", "m")
    assert "Count" in page
    assert page.count("<tr>") == 6
    described = answers.with_columns(correct=pl.when(kept["structural"] != "query").then("correct"))
    assert accuracy_rows(kept, described).equals(groups.filter(pl.col("structural") != "query"))
    empty = accuracy_rows(kept.head(0), answers)
    assert len(empty) == 0
    assert "<table>" in tables.accuracy_page(empty, "T", "m")


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_a_contact_sheet(paper, kind, tmp_path):
    candidates, folder = paper
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    processor = tiny_models.build_processor(kind, "vicuna_v1", kept["question"].to_list())
    rows, lost = for_each_question(
        kept, lambda row: patch_row(processor, row, "overlap"), stage="patches", task="T", model="m"
    )
    assert len(rows) + len(lost) == len(kept)
    assert len(lost) == 0 or kind == "llava"  # the crop loses some boxes, tiles lose none
    questions = kept.join(PATCHES.frame(rows), on="question_id", maintain_order="left")
    sheet = contact_sheet(processor, questions, EVIL, count=5)
    assert sheet.size[0] > 900
    assert contact_sheet(processor, questions, EVIL, count=5).tobytes() == sheet.tobytes()
    # Cells begin below the heading; their first view is the whole image, of nine patches of 112 pixels.
    row = questions.filter(pl.col("question_id").is_in(sample(questions["question_id"], 5, seed=0).implode())).row(
        0, named=True
    )
    cut = processor.image_processor([Image.open(row["image"])], return_tensors="np", do_normalize=False)[
        "pixel_values"
    ][0]
    seen = 255 * (cut if cut.ndim == 3 else cut[0]).transpose(1, 2, 0)
    drawn = np.asarray(sheet.crop((GAP, 3 * GAP + TEXT, GAP + HEIGHT, 3 * GAP + TEXT + HEIGHT)), dtype=float)
    for patch in range(9):
        top, left = 112 * (patch // 3), 112 * (patch % 3)
        # A corner of the patch, away from grid lines and (mostly) from boxes.
        shown = np.median(drawn[top + 90 : top + 108, left + 90 : left + 108], axis=(0, 1))
        own = np.median(seen[top // 8 + 12 : top // 8 + 13, left // 8 + 12 : left // 8 + 13], axis=(0, 1))
        assert (shown.mean() > 0.8 * own.mean()) == (patch in row["related"]), patch
    assert contact_sheet(processor, questions.head(0), "none").size[0] > 700
    gone = questions.head(1).with_columns(image=pl.lit(str(tmp_path / "gone.jpg")))
    assert contact_sheet(processor, gone, "gone").size[0] > 700


def test_patches_by_the_published_rule(paper):
    candidates, folder = paper
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    processor = tiny_models.build_processor("llava", "vicuna_v1", kept["question"].to_list())
    processor.image_processor = LlavaImageProcessorPil(
        size=processor.image_processor.size, crop_size=processor.image_processor.crop_size, do_pad=True
    )
    for row in kept.iter_rows(named=True):
        ours = set(patch_row(processor, row, "overlap")["related"])
        theirs = set(patch_row(processor, row, "painted")["related"])
        assert theirs
        assert len(ours ^ theirs) <= 4
        assert Image.open(row["image"]).size == (row["width"], row["height"])
