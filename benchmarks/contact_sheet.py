"""Draw a contact sheet of drawn scenes, cut as LLaVA-1.5 (padded) and LLaVA-NeXT (tiles) cut images, at real size.

python benchmarks/contact_sheet.py [docs/images/contact-sheet.png]
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import polars as pl
from PIL import Image
from transformers import LlavaImageProcessorPil, LlavaNextImageProcessorPil

from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.data.gqa.reader import read_questions
from vlmflow.data.scenes import write_scenes
from vlmflow.prompts.contact_sheet import contact_sheet
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import patch_row
from vlmflow.tables import CANDIDATES, PATCHES

SHAPE = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
PROCESSORS = [LlavaImageProcessorPil(**SHAPE, do_pad=True), LlavaNextImageProcessorPil(**SHAPE)]
ZOOM, WIDER = 4, 160  # enlargement of the scenes, and pixels of background added at the right


def scenes(folder: Path) -> pl.DataFrame:
    """Questions about a few wide images."""
    write_scenes(folder, images=2, seed=7)
    graphs = json.loads((folder / "sceneGraphs.json").read_text())
    for image in (folder / "images").iterdir():
        with Image.open(image) as scene:
            large = scene.resize((ZOOM * scene.width, ZOOM * scene.height), Image.Resampling.NEAREST)
        wide = Image.new("RGB", (large.width + WIDER, large.height), large.getpixel((0, 0)))
        wide.paste(large)
        wide.save(image)
        graph = graphs[image.stem]
        graph |= {"width": wide.width, "height": wide.height}
        for thing in graph["objects"].values():
            thing |= {side: ZOOM * thing[side] for side in "xywh"}
    (folder / "sceneGraphs.json").write_text(json.dumps(graphs))
    rows, _ = read_questions(folder / "questions.json", folder / "sceneGraphs.json")
    candidates = CANDIDATES.frame(pl.DataFrame(rows, infer_schema_length=None).drop("problem"))
    with_image, _ = with_images(candidates, ImageSource(str(folder / "images")), task="ChooseRel")
    return with_image.filter(pl.col("semantic") == "rel").with_columns(task=pl.lit("ChooseRel"))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/images/contact-sheet.png")
    sheets = []
    with tempfile.TemporaryDirectory() as folder:
        questions = scenes(Path(folder))
        for images, name in zip(PROCESSORS, ("padded to a square", "any resolution"), strict=True):
            processor = SimpleNamespace(
                image_processor=images,
                patch_size=14,
                num_additional_image_tokens=1,
                vision_feature_select_strategy="default",
            )
            patch_maps = PatchMaps(processor)
            rows = [patch_row(patch_maps, row, "overlap") for row in questions.iter_rows(named=True)]
            patches = PATCHES.frame(rows)
            sheets.append(
                contact_sheet(
                    patch_maps, questions.join(patches, on=["task", "question_id"], maintain_order="left"), name
                )
            )
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    whole.save(target, optimize=True)
