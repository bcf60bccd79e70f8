"""Which questions have images: those in a folder, by all their names, and those that are fetched."""

import zipfile

import polars as pl
import pytest

from support.servers import serving
from vlmflow.data.base import ImageSource
from vlmflow.data.coco import COCO_NAMES
from vlmflow.data.fetch.images import with_images
from vlmflow.tables import CANDIDATES, SKIPPED, TASK


def gqa(folder, url):
    """Images as GQA has them."""
    return ImageSource(str(folder), url, "images.zip", "images/{image_id}.jpg")


def test_existing_images_are_used_where_they_are(paper_candidates):
    candidates, folder = paper_candidates
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
def test_endings_of_images_may_have_any_case(paper_candidates, name):
    candidates, folder = paper_candidates
    (folder / "2.jpg").rename(folder / name.format(2))
    kept, skipped = with_images(candidates, ImageSource(str(folder)), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / name.format(2))]
    assert len(skipped) == 0


def test_of_several_images_of_one_name_always_the_same_is_taken(paper_candidates):
    candidates, folder = paper_candidates
    for name in ("2.JPG", "2.PNG", "2.png", "2.Jpg"):
        (folder / name).write_bytes((folder / "2.jpg").read_bytes())
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / "2.jpg")]


@pytest.mark.parametrize(
    "name",
    ["2.jpg", "000000000002.jpg", "COCO_val2014_000000000002.jpg", "COCO_train2014_000000000002.JPG"],
)
def test_images_may_have_cocos_names(paper_candidates, name):
    candidates, folder = paper_candidates
    (folder / "2.jpg").rename(folder / name)
    kept, _ = with_images(candidates, ImageSource(str(folder), names=COCO_NAMES), task="T")
    assert kept.filter(pl.col("image_id") == "2")["image"].unique().to_list() == [str(folder / name)]
    # Another dataset's numbers mean other images.
    kept, _ = with_images(candidates, ImageSource(str(folder)), task="T")
    assert ("2" in set(kept["image_id"])) == (name == "2.jpg")


@pytest.mark.parametrize("name", ["../0", "..", "a/b", "a\\b", "", "/etc/passwd", "a\0b", ".hidden"])
def test_names_that_would_leave_the_folder_are_refused(paper_candidates, name, tmp_path):
    candidates, folder = paper_candidates
    candidates = candidates.head(2).with_columns(image_id=pl.Series([name, candidates["image_id"][0]]))
    for url in (None, "http://127.0.0.1:9"):
        if url is None or (folder / f"{candidates['image_id'][1]}.jpg").is_file():
            kept, skipped = with_images(candidates, gqa(folder, url), task="T")
            assert len(kept) == 1
            assert "is no name of an image" in skipped["reason"][0]


def test_missing_images_are_fetched(paper_candidates, tmp_path):
    candidates, folder = paper_candidates
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


def test_images_may_have_an_address_each(paper_candidates, tmp_path):
    candidates, folder = paper_candidates
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
    assert any("COCO_val2014_000000000005.jpg: the server says 404" in reason for reason in reasons)
    assert any("'no-number' is no number" in reason for reason in reasons)
    assert len(reasons) == 2


def test_without_questions_no_image_is_fetched(tmp_path):
    kept, skipped = with_images(CANDIDATES.frame([]), gqa(tmp_path, "http://127.0.0.1:9"), task="T")
    assert (len(kept), len(skipped)) == (0, 0)
