"""What servers send in place of an image: none of it is kept, and it is asked for again once it may be one."""

import gzip
import io
import itertools
import struct
import time
import zipfile
import zlib

import pytest
from filelock import FileLock

from support.noise import noise_image
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch import http, images
from vlmflow.data.fetch.download import fetch_files
from vlmflow.data.fetch.expected import IMAGE, Expected, Refused
from vlmflow.data.fetch.images import ask_again, with_images
from vlmflow.data.fetch.remote_zip import fetch_members
from vlmflow.errors import DownloadError
from vlmflow.tables import CANDIDATES, SKIPPED

pytestmark = pytest.mark.usefixtures("short_waits")


def image(kind="JPEG", size=(40, 30)):
    buffer = io.BytesIO()
    noise_image(size).save(buffer, kind)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that says how large it is, and holds nothing."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


LOGIN = b"<!doctype html><html><title>Log in to the guest network</title></html>"
GZIP = {"Content-Encoding": "gzip", "Content-Type": "image/jpeg"}
MOST = 20_000_000
BAD = {
    "empty": (
        ({"Content-Length": "0"}, [b""]),
        "what was sent cannot be read: it is empty, or in none of the formats JPEG",
    ),
    "login": (({"Content-Type": "text/html"}, [LOGIN]), "what was sent cannot be read: it is empty, or in none of the"),
    "bomb": ((GZIP, [gzip.compress(bytes(300_000_000), 1)]), "it has more than 20,000,000 bytes"),
    "endless": (({}, itertools.repeat(bytes(1 << 20))), "it has more than 20,000,000 bytes"),
    "huge": (({}, [png_header(100_000, 100_000)]), "Image size (10000000000 pixels) exceeds limit"),
    "large": (({}, [png_header(9000, 9000)]), "what was sent cannot be read: it has 9000 × 9000 pixels."),
    "cut": (({}, [image()[:-400]]), "what was sent cannot be read: image file is truncated"),
    "no-gzip": ((GZIP, [image()]), "failed to decode it"),
    "program": (({}, [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]), "none of the formats JPEG, PNG"),
}


@pytest.fixture
def expected():
    """An image, with a limit that is reached sooner; the one for users is larger than any of their photographs."""
    assert 50_000_000 <= IMAGE.most <= 500_000_000
    return Expected(MOST, IMAGE.check)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_not_kept(server, tmp_path, expected, name):
    server.faults.body["/bad.jpg"], message = BAD[name]
    (server.folder / "good.jpg").write_bytes(image())
    (server.folder / "drawn.jpg").write_bytes(image("PNG"))  # under the name of another format
    out = tmp_path / "out"
    urls = {f"{server.url}/{name}.jpg": out / f"{name}.jpg" for name in ("bad", "good", "drawn")}
    (reason,) = fetch_files(urls, expected=expected).values()
    assert isinstance(reason, Refused)
    assert reason.startswith(f"{server.url}/bad.jpg: ")
    assert message in reason
    assert sorted(path.name for path in out.iterdir()) == ["drawn.jpg", "good.jpg"]
    assert server.sent < 5 * MOST, "what is endless is not listened to for ever"


@pytest.mark.parametrize("ranges", [True, False])
def test_members_of_archives_are_checked_too(server, tmp_path, expected, ranges):
    server.faults.ranges = ranges
    with zipfile.ZipFile(server.folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", image())
        archive.writestr("login.jpg", LOGIN)
        archive.writestr("bomb.jpg", bytes(30_000_000))
    out = tmp_path / "out"
    wanted = {name: out / name for name in ("good.jpg", "login.jpg", "bomb.jpg", "none.jpg")}
    reasons = fetch_members(f"{server.url}/images.zip", wanted, tmp_path / "kept.zip", expected=expected)
    assert [path.name for path in out.iterdir()] == ["good.jpg"]
    assert isinstance(reasons["login.jpg"], Refused)
    assert "login.jpg in " in reasons["login.jpg"]
    assert "none of the formats JPEG" in reasons["login.jpg"]
    assert "more than 20,000,000 bytes" in reasons["bomb.jpg"]
    assert not isinstance(reasons["none.jpg"], Refused), "what an archive does not hold, it will not hold"


def test_a_login_page_in_place_of_an_archive_is_not_kept(server, tmp_path):
    """Not even where its server knows no ranges of bytes, so that all of it is fetched."""
    server.faults.ranges = False
    (server.folder / "images.zip").write_bytes(LOGIN)
    wanted = {"a.jpg": tmp_path / "out" / "a.jpg"}
    with pytest.raises(DownloadError, match=r"images\.zip: this is not a complete zip archive .* fetches it again"):
        fetch_members(f"{server.url}/images.zip", wanted, tmp_path / "kept.zip", expected=IMAGE)
    with zipfile.ZipFile(server.folder / "images.zip", "w") as archive:
        archive.writestr("a.jpg", image())
    assert fetch_members(f"{server.url}/images.zip", wanted, tmp_path / "kept.zip", expected=IMAGE) == {}


def candidates(*ids):
    row = dict.fromkeys(CANDIDATES.columns) | {"objects": []}
    row |= dict.fromkeys(("question", "answer", "structural", "semantic", "detailed"), "x")
    return CANDIDATES.frame([row | {"question_id": f"q{name}", "image_id": name} for name in ids])


def test_refused_images_are_requested_again(server, tmp_path):
    note, came = tmp_path / "t.refused.json", tmp_path / "t.came.txt"
    images = ImageSource(str(tmp_path / "images"), server.url)
    for name in ("1", "4"):
        (server.folder / f"{name}.jpg").write_bytes(image())
    server.faults.body |= {"/1.jpg": ({}, [LOGIN]), "/2.jpg": ({}, [LOGIN])}
    kept, skipped = with_images(candidates("1", "2", "3", "4"), images, task="T", note=note)
    assert kept["question_id"].to_list() == ["q4"]
    reasons = dict(SKIPPED.frame(skipped).select("question_id", "reason").rows())
    for name in ("1", "2"):
        assert f"{server.url}/{name}.jpg: what was sent cannot be read" in reasons[f"q{name}"]
        assert f"you can also put it at {tmp_path}/images/{name}.jpg" in reasons[f"q{name}"]
    assert "404" in reasons["q3"]
    # Nothing is better yet; then one is; then the other one is put there. Only what was refused is asked for.
    server.requests.clear()
    assert "0 of 2 images that were refused before have now arrived; " in ask_again(note, came, images, {})
    assert not came.exists()
    assert {path for command, path, _ in server.requests if command == "GET"} == {"/1.jpg", "/2.jpg"}
    del server.faults.body["/1.jpg"]
    assert "1 of 2 images that were refused before have now arrived; " in ask_again(note, came, images, {})
    assert came.read_text() == "1\n"
    (tmp_path / "images" / "2.png").write_bytes(image("PNG"))
    assert ask_again(note, came, images, {}).endswith("1 of 1 images that were refused before have now arrived")
    assert came.read_text() == "1\n2\n"
    assert not note.exists()


def test_an_image_of_several_tasks_is_requested_again_once(server, tmp_path):
    source = ImageSource(str(tmp_path / "images"), server.url)
    (tmp_path / "images").mkdir()
    server.faults.body |= {"/1.jpg": ({}, [LOGIN]), "/2.jpg": ({}, [LOGIN])}
    refused_again, messages = {}, []
    for task, ids in (("A", ["1"]), ("B", ["1", "2"]), ("C", ["2"])):
        note = tmp_path / f"{task}.refused.json"
        images._write_down(ids, note)
        messages.append(ask_again(note, tmp_path / f"{task}.came.txt", source, refused_again))
    paths = [path for command, path, _ in server.requests if command == "GET"]
    assert (paths.count("/1.jpg"), paths.count("/2.jpg")) == (1, 1)
    assert all("what was sent cannot be read" in message for message in messages), "the reason is told for each task"
    # The same folder may be filled from another address, which has not been asked.
    server.requests.clear()
    other = ImageSource(source.folder, f"{server.url}/other")
    ask_again(note, tmp_path / "C.came.txt", other, refused_again)
    assert {path for command, path, _ in server.requests if command == "GET"} == {"/other/2.jpg"}


def test_a_job_forgets_what_is_no_longer_refused(server, tmp_path):
    note = tmp_path / "t.refused.json"
    images = ImageSource(str(tmp_path / "images"), server.url)
    for name in ("1", "2"):
        (server.folder / f"{name}.jpg").write_bytes(image())
    server.faults.body["/1.jpg"] = ({}, [LOGIN])
    with_images(candidates("1", "2"), images, task="T", note=note)
    assert note.exists()
    server.faults.body.clear()
    kept, _ = with_images(candidates("1", "2"), images, task="T", note=note)
    assert len(kept) == 2
    assert not note.exists()


def test_a_job_whose_images_are_all_refused_fails_with_one_message(server, tmp_path):
    images = ImageSource(str(tmp_path / "images"), server.url)
    server.faults.body |= {f"/{number}.jpg": ({}, [LOGIN]) for number in range(9)}
    with pytest.raises(
        DownloadError, match=r"none of the 9 files that the server sent is an image; .*/\d\.jpg: what was"
    ):
        with_images(candidates(*map(str, range(9))), images, task="T", note=tmp_path / "note")
    assert not (tmp_path / "note").exists()
    assert list((tmp_path / "images").iterdir()) == []
    # One that is there already makes it a matter of single images.
    (tmp_path / "images" / "0.jpg").write_bytes(image())
    kept, skipped = with_images(candidates("0", "1"), images, task="T", note=tmp_path / "note")
    assert (len(kept), len(skipped)) == (1, 1)


def test_a_server_that_cannot_be_reached_is_not_waited_for(server, tmp_path):
    note, came = tmp_path / "t.refused.json", tmp_path / "t.came.txt"
    images._write_down(["1", "2"], note)
    nobody = ImageSource(str(tmp_path / "images"), "http://127.0.0.1:9")
    assert "0 of 2 images that were refused before have now arrived; the server could not be reached" in ask_again(
        note, came, nobody, {}
    )
    source = ImageSource(str(tmp_path / "images"), server.url)
    (tmp_path / "images").mkdir()
    with FileLock(tmp_path / ".fetching.lock"):
        assert "another run is fetching images" in ask_again(note, came, source, {})
    assert note.exists()
    assert not came.exists()
    # What somebody has put there meanwhile is seen all the same.
    (tmp_path / "images" / "2.png").write_bytes(image("PNG"))
    assert "1 of 2 images that were refused before have now arrived; the server" in ask_again(note, came, nobody, {})
    assert came.read_text() == "2\n"


def test_names_that_lead_out_of_the_folder_are_not_requested(server, tmp_path):
    note = tmp_path / "t.refused.json"
    images._write_down(["../x"], note)
    source = ImageSource(str(tmp_path / "images"), server.url)
    assert "of 0 images" in ask_again(note, tmp_path / "came", source, {})
    assert server.requests == []


def test_a_server_cannot_make_a_job_wait_for_hours(server, tmp_path, monkeypatch):
    assert http.LONGEST_WAIT <= 60
    monkeypatch.setattr(http, "LONGEST_WAIT", 1)
    monkeypatch.setattr(http, "TRIES", 2)
    server.faults.status["/1.jpg"] = (503, {"Retry-After": "21600"})
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"1\.jpg"):
        fetch_files({f"{server.url}/1.jpg": tmp_path / "1.jpg"})
    assert 1 < time.monotonic() - start < 10
