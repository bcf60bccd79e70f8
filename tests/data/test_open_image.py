"""Images that cannot be opened cost their questions alone; those that can are in their colours."""

import io
import resource
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from support.noise import noise_image
from support.questions import of_task
from support.scene_files import files_of, read_files
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.data.open_image import LONGEST, LONGEST_TO_SHORTEST, open_image
from vlmflow.data.sampling import usable_questions
from vlmflow.errors import ImageError
from vlmflow.jobs.job import for_each_question
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import patch_row
from vlmflow.report.tables import task_row, tasks_page
from vlmflow.study import Task
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED, TASK


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, more=b""):
    """A black image of one bit a pixel, which packs a thousandfold, after chunks of text."""
    rows = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * height, 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(image, kind, **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


FRAMES = [Image.new("RGB", (96, 96), color) for color in ("red", "blue")]
NOISE = saved(noise_image(96), "JPEG")
TEXT = b"t\0\0" + zlib.compress(b"\0" * 90_000_000, 9)
LIMIT = f"An image may have at most {LONGEST} pixels per side, and its longer side may be at most {LONGEST_TO_SHORTEST}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no image 1 (.jpg, .jpeg, .png, .webp, .bmp, .gif, .tif, .tiff) in"),
        (b"", "it is empty, or in none of the formats JPEG, PNG, GIF, WEBP, BMP, TIFF"),
        (b"<html>404</html>", "it is empty, or in none of the formats JPEG"),
        (NOISE[: len(NOISE) // 2], "image file is truncated"),
        (NOISE[:-40], "image file is truncated"),
        (NOISE[:200], "cannot be read: "),
        ("folder", "Is a directory"),
        (png(10_000, 10_000), f"it has 10000 × 10000 pixels. {LIMIT}"),
        (png(30_000, 30_000), LIMIT),
        (png(8000, 1), f"it has 8000 × 1 pixels. {LIMIT}"),
        (png(96, 96, chunk(b"zTXt", TEXT)), "Decompressed data too large"),
        (png(96, 96, chunk(b"iCCP", TEXT)), "Decompressed data too large"),
        (saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "it has several frames"),
        (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "it has several frames"),
        (saved(FRAMES[0], "EPS"), "it is empty, or in none of the formats JPEG"),
        (saved(Image.fromarray(np.ones((96, 96), np.float32)), "TIFF"), "its pixels are 32-bit numbers"),
        (saved(Image.new("RGB", (96, 48)), "PNG"), "made for 96 × 96 pixels, but the image has 96 × 48"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_file_that_is_no_image_costs_its_questions_only(scene_folder, tiny_processor, content, reason):
    path = scene_folder / "images" / "1.png"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    read_files(scene_folder, *files_of(scene_folder))
    table, _ = usable_questions(QUESTIONS.read(scene_folder / "q.parquet"), "T", Task(structural="query"))
    kept, unseen = with_images(CANDIDATES.frame(table), ImageSource(str(scene_folder / "images")), task="T")
    rows, skipped = for_each_question(
        of_task(TASK.frame(kept), "T"),
        lambda row: patch_row(PatchMaps(tiny_processor), row, "overlap"),
        stage="patches",
        model="m",
    )
    reasons = dict(SKIPPED.frame(pl.concat([unseen, skipped])).select("question_id", "reason").rows())
    assert set(reasons) == set(table.filter(image_id="1")["question_id"])
    assert {row["question_id"] for row in rows} == set(table.filter(pl.col("image_id") != "1")["question_id"])
    for why in reasons.values():
        assert reason in why
    if len(shown := kept.filter(image_id="1")):
        page = tasks_page([task_row("T", shown)], "T")
        assert ("data:image" in page) == ("the image has" in reason), "a page goes without it"


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """Within the limits an image is opened, whatever PIL warns of; beyond, its size is all that is read."""
    (tmp_path / "bomb.png").write_bytes(png(LONGEST + 1, LONGEST + 1)[:2000])
    with pytest.raises(ImageError, match=f"it has {LONGEST + 1} × {LONGEST + 1} pixels"):
        open_image(str(tmp_path / "bomb.png"))
    (tmp_path / "large.png").write_bytes(png(LONGEST, LONGEST // LONGEST_TO_SHORTEST + 1))
    assert open_image(str(tmp_path / "large.png")).size == (LONGEST, LONGEST // LONGEST_TO_SHORTEST + 1)


def test_colours_and_orientation_are_those_of_the_stored_pixels(tmp_path):
    """An image of 16 bits is not white, one of four inks is in its colours, and stored pixels are where they are."""
    turned = Image.Exif()
    turned[274] = 6
    images = {
        "deep.png": saved(Image.fromarray(np.full((8, 16), 40_000, np.uint16)), "PNG"),
        "inks.jpg": saved(Image.new("CMYK", (16, 8), (0, 255, 255, 0)), "JPEG"),
        "turned.jpg": saved(Image.new("RGB", (16, 8), "red"), "JPEG", exif=turned),
        "clear.png": saved(Image.new("RGBA", (16, 8), (255, 0, 0, 0)), "PNG"),
    }
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    seen = {name: open_image(str(tmp_path / name)) for name in images}
    assert {image.size for image in seen.values()} == {(16, 8)}
    assert seen["deep.png"].getpixel((0, 0)) == (156, 156, 156)
    for name in ("inks.jpg", "turned.jpg", "clear.png"):
        assert seen[name].getpixel((3, 3)) == pytest.approx((255, 0, 0), abs=2)


def test_a_missing_disk_stops_the_job_and_costs_no_question(tmp_path):
    """Of an image that is gone with its whole folder, or that cannot be opened for want of file handles, nothing is
    said but that the machine is to blame: the job fails, and is done again."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(str(folder / "2.png"))
    folder.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        open_image(str(folder / "1.png"))
    (tmp_path / "away").rename(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            open_image(str(folder / "1.png"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_image(str(folder / "1.png")).size == (8, 8)
