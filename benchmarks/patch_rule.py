"""Compare the computed related patches with those of the published rule, which paints boxes.

    python benchmarks/patch_rule.py [folder with the paper's question files]

sends a painted mask of every box through the image processing of LLaVA-1.5 (cropped, padded) and of LLaVA-NeXT (any
resolution), at their real sizes, and prints how often and by how much the two rules differ.  Without a folder, images
and boxes are random.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm
from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil, LlavaNextImageProcessorPil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import tiny_models
from vlmflow.data.gqa_paper import read_paper_questions
from vlmflow.errors import GeometryError
from vlmflow.prompts.layouts.painted import painted_patches
from vlmflow.prompts.layouts.patch_map import Box
from vlmflow.prompts.layouts.registry import find_patch_map

SHAPE = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
PROCESSORS = {
    "padded": LlavaImageProcessorPil(**SHAPE, do_pad=True),
    "cropped": CLIPImageProcessorPil(**SHAPE),
    "any resolution": LlavaNextImageProcessorPil(**SHAPE),
}
PATCH = 14
RANDOM = 600  # number of random questions

Question = tuple[tuple[int, int], list[Box]]  # the image's width and height, and its boxes


def from_files(folder: Path) -> list[Question]:
    """Image sizes and boxes of the paper's questions."""
    rows, _ = read_paper_questions(sorted(folder.glob("*.csv")))
    boxed = [(row, [item for item in row["objects"] if item["id"]]) for row in rows]
    return [
        ((row["width"], row["height"]), [(item["x"], item["y"], item["w"], item["h"]) for item in items])
        for row, items in boxed
        if items
    ]


def random_questions(seed: int = 0) -> list[Question]:
    """Random images of about GQA's sizes, with one or two boxes."""
    rng = np.random.default_rng(seed)
    questions: list[Question] = []
    for _ in range(RANDOM):
        width, height = (int(side) for side in rng.integers(250, 640, size=2))
        boxes = []
        for _ in range(rng.integers(1, 3)):
            x, y = int(rng.integers(0, width - 5)), int(rng.integers(0, height - 5))
            boxes.append(
                (float(x), float(y), float(rng.integers(5, width - x + 1)), float(rng.integers(5, height - y + 1)))
            )
        questions.append(((width, height), boxes))
    return questions


def compare(images: object, questions: list[Question], name: str) -> dict[str, object]:
    """The differences between the two rules for one way of cutting images."""
    kind = "llava_next" if name == "any resolution" else "llava"
    processor = tiny_models.build_processor(kind, "vicuna_v1", ["what ?"])
    processor.image_processor, processor.patch_size = images, PATCH
    outside = computed = missing = extra = differing = 0
    worst, inside = 0, 0
    for size, boxes in tqdm(questions, desc=name, mininterval=2):
        try:
            ours = set(find_patch_map(processor, size).related(boxes))
        except GeometryError:
            outside += 1
            continue
        try:
            theirs = set(painted_patches(processor, size, boxes))
        except GeometryError:
            theirs = set()
        inside += 1
        computed += len(ours)
        missing += len(ours - theirs)
        extra += len(theirs - ours)
        differing += ours != theirs
        worst = max(worst, len(ours ^ theirs))
    return {
        "images": name,
        "questions": len(questions),
        "a box outside": outside,
        "related patches": computed,
        "not painted, %": round(100 * missing / computed, 2),
        "painted only, %": round(100 * extra / computed, 2),
        "questions that differ, %": round(100 * differing / inside, 1),
        "largest difference": worst,
    }


if __name__ == "__main__":
    questions = from_files(Path(sys.argv[1])) if len(sys.argv) > 1 else random_questions()
    table = pl.DataFrame([compare(images, questions, name) for name, images in PROCESSORS.items()])
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(table)
