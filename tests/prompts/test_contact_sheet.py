"""Contact sheets, and the patches that they show."""

import runpy
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image
from transformers import LlavaImageProcessorPil

from support import tiny_models
from support.paths import ROOT, TINY_LLAVA
from support.questions import of_task
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.data.sampling import sample
from vlmflow.jobs.job import for_each_question
from vlmflow.prompts.contact_sheet import GAP, HEIGHT, TEXT, contact_sheet
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import patch_row
from vlmflow.tables import PATCHES, SKIPPED, TASK

EVIL = "<script>alert(1)</script>"


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_a_contact_sheet_shows_the_related_patches(paper_candidates, kind, tmp_path):
    candidates, folder = paper_candidates
    kept = of_task(with_images(candidates, ImageSource(str(folder)), task="T")[0], "T")
    processor = tiny_models.build_processor(kind, "vicuna_v1", kept["question"].to_list())
    rows, lost = for_each_question(
        kept, lambda row: patch_row(PatchMaps(processor), row, "overlap"), stage="patches", model="m"
    )
    assert len(rows) + len(lost) == len(kept)
    assert len(lost) == 0 or kind == "llava"  # the crop loses some boxes, tiles lose none
    questions = kept.join(PATCHES.frame(rows), on=["task", "question_id"], maintain_order="left")
    sheet = contact_sheet(PatchMaps(processor), questions, EVIL, count=5)
    assert sheet.size[0] > 900
    assert contact_sheet(PatchMaps(processor), questions, EVIL, count=5).tobytes() == sheet.tobytes()
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
    assert contact_sheet(PatchMaps(processor), questions.head(0), "none").size[0] > 700
    gone = questions.head(1).with_columns(image=pl.lit(str(tmp_path / "gone.jpg")))
    assert contact_sheet(PatchMaps(processor), gone, "gone").size[0] > 700


def test_a_question_without_a_patch_map_is_skipped_alone(paper_candidates, tmp_path):
    """By the script itself: the sheets show the other questions, of their own task each."""
    candidates, folder = paper_candidates
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    first, *others = (row for row in kept.to_dicts() if any(thing["x"] is not None for thing in row["objects"]))
    outside = {"x": 2000.0, "y": 0.0, "w": 5.0, "h": 5.0}
    first["objects"] = [thing | outside for thing in first["objects"]]
    made = {name: tmp_path / f"{name}.parquet" for name in ("T", "U", "patches", "skipped")}
    TASK.write([first, *others], made["T"])
    TASK.write([first], made["U"])
    (tmp_path / "sheets").mkdir()
    sheets = [str(tmp_path / "sheets" / f"{task}.png") for task in ("T", "U")]
    model = {"path": str(ROOT / TINY_LLAVA), "fetched": None, "template": "own", "fit": "pad"}
    model |= {"dtype": "float32", "processor_content": ""}
    job = SimpleNamespace(
        log=[str(tmp_path / "log")],
        wildcards=SimpleNamespace(model="m"),
        params=SimpleNamespace(model=model, rule="overlap", tasks=["T", "U"]),
        input=SimpleNamespace(questions=[made["T"], made["U"]]),
        output=SimpleNamespace(
            patches=made["patches"],
            skipped=made["skipped"],
            sheets=sheets,
        ),
    )
    runpy.run_path(str(ROOT / "workflow_scripts" / "map_patches.py"), {"snakemake": job})
    mapped = PATCHES.read(made["patches"])
    assert mapped.select("task", "question_id").rows() == [("T", row["question_id"]) for row in others]
    lost = SKIPPED.read(made["skipped"])
    assert lost.select("task", "question_id").rows() == [("T", first["question_id"]), ("U", first["question_id"])]
    assert lost["reason"].str.contains("lies outside of the image").all()
    sizes = {path.stem: Image.open(path).size for path in (tmp_path / "sheets").iterdir()}
    assert set(sizes) == {"T", "U"}
    assert sizes["T"][1] > HEIGHT > sizes["U"][1], "of the task U no question is shown"


def test_patches_by_the_published_rule_differ_little(paper_candidates):
    candidates, folder = paper_candidates
    kept = of_task(with_images(candidates, ImageSource(str(folder)), task="T")[0], "T")
    processor = tiny_models.build_processor("llava", "vicuna_v1", kept["question"].to_list())
    processor.image_processor = LlavaImageProcessorPil(
        size=processor.image_processor.size, crop_size=processor.image_processor.crop_size, do_pad=True
    )
    for row in kept.iter_rows(named=True):
        ours = set(patch_row(PatchMaps(processor), row, "overlap")["related"])
        theirs = set(patch_row(PatchMaps(processor), row, "painted")["related"])
        assert theirs
        assert len(ours ^ theirs) <= 4
        assert Image.open(row["image"]).size == (row["width"], row["height"])


def test_the_sheet_of_the_documentation_can_be_drawn_again(tmp_path):
    drawn = tmp_path / "sheet.png"
    subprocess.run([sys.executable, ROOT / "benchmarks" / "contact_sheet.py", drawn], check=True, capture_output=True)
    with Image.open(drawn) as now, Image.open(ROOT / "docs" / "images" / "contact-sheet.png") as shown:
        assert now.size == shown.size
