"""Downloads from real servers that break off, send damaged members, know no ranges, or have nothing."""

import hashlib
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.archives import write_tar
from support.paths import ROOT
from vlmflow.data.fetch import http
from vlmflow.data.fetch.download import fetch_archived, fetch_file, fetch_files
from vlmflow.data.fetch.remote_zip import fetch_members
from vlmflow.errors import DownloadError

pytestmark = pytest.mark.usefixtures("short_waits")


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def write_archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


MEMBERS = {f"images/{number}.jpg": noise(20_000, seed=number) for number in range(40)}


@pytest.fixture
def archive(server):
    write_archive(server.folder / "images.zip", MEMBERS)
    return f"{server.url}/images.zip"


def targets(folder, names):
    return {name: folder / Path(name).name for name in names}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_wanted_is_fetched(server, archive, tmp_path):
    names = ["images/3.jpg", "images/17.jpg"]
    assert fetch_members(archive, targets(tmp_path / "out", names), tmp_path / "kept.zip") == {}
    assert files(tmp_path / "out") == {Path(name).name: MEMBERS[name] for name in names}
    assert server.sent < 64 * 1024 + 3 * 20_000 + 5_000  # the table of contents, and the two members
    assert server.sent < (server.folder / "images.zip").stat().st_size / 4


def test_a_large_table_of_contents_is_read_once(server, tmp_path):
    write_archive(server.folder / "many.zip", {f"folder/{'n' * 60}{number}": b"x" for number in range(2000)})
    wanted = {f"folder/{'n' * 60}{number}": tmp_path / "out" / str(number) for number in range(30)}
    assert fetch_members(f"{server.url}/many.zip", wanted, tmp_path / "kept.zip") == {}
    assert len(files(tmp_path / "out")) == 30
    members = sum(Path(path).name == "many.zip" for _, path, _ in server.requests) - 2
    assert members == 30


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_broken_connection_is_resumed_member_by_member(server, archive, tmp_path, cuts):
    wanted = targets(tmp_path / "out", MEMBERS)
    fetch_members(archive, dict(list(wanted.items())[:1]), tmp_path / "kept.zip")
    server.faults.cut, server.faults.cut_from = cuts, 15_000
    assert fetch_members(archive, wanted, tmp_path / "kept.zip") == {}
    assert server.faults.cut == 0
    assert files(tmp_path / "out") == {Path(name).name: content for name, content in MEMBERS.items()}


def test_a_connection_that_breaks_for_good_leaves_nothing_half_written(server, archive, tmp_path):
    write_archive(server.folder / "images.zip", {"a": noise(70_000), "b": noise(70_000, 1), "small": b"x"})
    # The table of contents, asked for in a piece of 64 KiB, comes through; the large members never do.
    server.faults.cut, server.faults.cut_from = 10**6, 66_000
    with pytest.raises(
        DownloadError, match=r"images\.zip: the connection broke 4 times at (a|b) .*continues from there"
    ):
        fetch_members(archive, {name: tmp_path / "out" / name for name in ("small", "a", "b")}, tmp_path / "kept.zip")
    assert set(files(tmp_path / "out")) <= {"small"}
    server.faults.cut = 0
    wanted = {name: tmp_path / "out" / name for name in ("small", "a", "b")}
    assert fetch_members(archive, wanted, tmp_path / "kept.zip") == {}
    assert files(tmp_path / "out")["b"] == noise(70_000, 1)


def test_a_damaged_member_is_refused_and_the_others_come(server, archive, tmp_path):
    path = server.folder / "images.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as intact:
        place = intact.getinfo("images/5.jpg").header_offset
    content[place + 500] ^= 0xFF
    path.write_bytes(content)
    names = ["images/4.jpg", "images/5.jpg", "images/6.jpg", "images/none.jpg"]
    failures = fetch_members(archive, targets(tmp_path / "out", names), tmp_path / "kept.zip")
    assert set(failures) == {"images/5.jpg", "images/none.jpg"}
    assert "damaged" in failures["images/5.jpg"]
    assert "there is no images/none.jpg in" in failures["images/none.jpg"]
    assert set(files(tmp_path / "out")) == {"4.jpg", "6.jpg"}


def test_without_ranges_the_archive_is_fetched_completely(server, archive, tmp_path, capsys):
    server.faults.ranges = False
    kept = tmp_path / "kept.zip"
    names = ["images/1.jpg", "images/2.jpg"]
    assert fetch_members(archive, targets(tmp_path / "out", names), kept) == {}
    assert "does not support ranges of bytes" in capsys.readouterr().out
    assert files(tmp_path / "out") == {Path(name).name: MEMBERS[name] for name in names}
    before = len(server.requests)
    assert fetch_members(archive, targets(tmp_path / "out", ["images/9.jpg"]), kept) == {}
    assert len(server.requests) == before  # the archive that was kept is used
    assert "exists already and is used in place of" in capsys.readouterr().out
    # It stands for the address it came from, and for no other.
    (server.folder / "elsewhere").mkdir()
    write_archive(server.folder / "elsewhere" / "images.zip", {"images/1.jpg": b"another"})
    wanted = targets(tmp_path / "other", ["images/1.jpg"])
    assert fetch_members(f"{server.url}/elsewhere/images.zip", wanted, kept) == {}
    assert files(tmp_path / "other") == {"1.jpg": b"another"}


def test_an_archive_that_the_user_has_is_used(archive, server, tmp_path):
    write_archive(tmp_path / "kept.zip", {"images/1.jpg": b"mine"})
    assert fetch_members(archive, targets(tmp_path / "out", ["images/1.jpg"]), tmp_path / "kept.zip") == {}
    assert files(tmp_path / "out") == {"1.jpg": b"mine"}
    assert server.requests == []


def test_an_archive_that_breaks_off_leaves_nothing(server, archive, tmp_path):
    server.faults.ranges = False
    server.faults.cut = 10
    with pytest.raises(DownloadError, match=r"images\.zip"):
        fetch_members(archive, targets(tmp_path / "out", ["images/1.jpg"]), tmp_path / "kept.zip")
    assert files(tmp_path / "out") == {}
    assert not (tmp_path / "kept.zip").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("absent.zip", None, "404"), ("no.zip", b"<html>not an archive</html>" * 99, "not a zip archive")],
)
def test_a_missing_archive_is_an_error(server, tmp_path, name, content, message):
    if content is not None:
        (server.folder / name).write_bytes(content)
    with pytest.raises(DownloadError, match=message) as error:
        fetch_members(f"{server.url}/{name}", {"a": tmp_path / "out" / "a"}, tmp_path / "kept.zip")
    assert name in str(error.value)


def test_a_missing_server_is_an_error(tmp_path):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/images\.zip"):
        fetch_members("http://127.0.0.1:9/images.zip", {"a": tmp_path / "a"}, tmp_path / "kept.zip")


def test_names_in_an_archive_never_decide_where_files_are_written(server, tmp_path):
    members = {"../evil": b"e", "/tmp/evil-too": b"e", "a/../../evil": b"e", "good": b"g"}
    write_archive(server.folder / "evil.zip", members)
    out = tmp_path / "deep" / "er" / "out"
    wanted = {name: out / str(number) for number, name in enumerate(members)}
    fetch_members(f"{server.url}/evil.zip", wanted, tmp_path / "kept.zip")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "served" not in path.parts]
    assert sorted(path.name for path in written) == ["0", "1", "2", "3"]
    assert {path.parent for path in written} == {out}
    assert not Path("/tmp/evil-too").exists()


def test_an_encrypted_member_is_refused_like_a_damaged_one(server, archive, tmp_path):
    path = server.folder / "images.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as intact:
        content[intact.getinfo("images/5.jpg").header_offset + 6] |= 1
        place = content.index(b"images/5.jpg", intact.start_dir) - 46
    content[place + 8] |= 1
    path.write_bytes(content)
    failures = fetch_members(
        archive, targets(tmp_path / "out", ["images/4.jpg", "images/5.jpg"]), tmp_path / "kept.zip"
    )
    assert set(failures) == {"images/5.jpg"}
    assert "encrypted" in failures["images/5.jpg"]
    assert set(files(tmp_path / "out")) == {"4.jpg"}


def test_a_file_is_known_by_its_checksum(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TRIES", 2)
    content = noise(30_000)
    (server.folder / "q.csv").write_bytes(content)
    path, url = tmp_path / "out" / "q.csv", f"{server.url}/q.csv"
    sha256 = hashlib.sha256(content).hexdigest()
    server.faults.cut = 1
    fetch_file(url, path, sha256)
    assert path.read_bytes() == content
    path.unlink()
    (server.folder / "q.csv").write_bytes(content[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"q\.csv: this is not the expected file"):
        fetch_file(url, path, sha256)
    assert not path.exists()
    with pytest.raises(DownloadError, match=r"404 Not Found"):
        fetch_file(f"{server.url}/none.csv", tmp_path / "out" / "none.csv", sha256)


def test_downloads_need_no_torch():
    code = "import sys, vlmflow.data.fetch.download, vlmflow.data.fetch.images; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("cuts", [0, 1, 5])
def test_files_are_fetched_one_by_one_and_missing_ones_reported(server, tmp_path, cuts):
    for number in range(12):
        (server.folder / f"{number}.jpg").write_bytes(MEMBERS[f"images/{number}.jpg"])
    server.faults.cut = cuts
    wanted = {f"{server.url}/{number}.jpg": tmp_path / "out" / f"{number}.jpg" for number in range(14)}
    failures = fetch_files(wanted)
    assert failures == {
        f"{server.url}/{n}.jpg": f"{server.url}/{n}.jpg: the server answers 404 Not Found" for n in (12, 13)
    }
    assert files(tmp_path / "out") == {f"{n}.jpg": MEMBERS[f"images/{n}.jpg"] for n in range(12)}
    assert server.faults.cut == 0


def test_a_server_that_refuses_everything_is_an_error(server, tmp_path):
    (server.folder / "1.jpg").write_bytes(b"1")
    server.faults.status |= {"/1.jpg": 403, "/2.jpg": 403}
    wanted = {f"{server.url}/{number}.jpg": tmp_path / f"{number}.jpg" for number in (1, 2)}
    with pytest.raises(DownloadError, match=r"403 Forbidden, for each of the 2 requested files"):
        fetch_files(wanted)
    del server.faults.status["/1.jpg"]
    assert list(fetch_files(wanted)) == [f"{server.url}/2.jpg"]
    assert fetch_files({}) == {}


def test_a_server_that_breaks_every_time_is_an_error(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TRIES", 2)
    (server.folder / "1.jpg").write_bytes(noise(20_000))
    server.faults.cut = 10
    with pytest.raises(DownloadError, match=r"1\.jpg: .*the same command continues"):
        fetch_files({f"{server.url}/1.jpg": tmp_path / "1.jpg"})
    assert files(tmp_path / "out") == {}
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/1"):
        fetch_files({"http://127.0.0.1:9/1": tmp_path / "1.jpg"})


@pytest.mark.parametrize("name", ["val.json", "./val.json", "folder/val.json", "../../val.json", "/etc/val.json"])
def test_a_file_is_taken_out_of_a_tar_archive(server, tmp_path, name):
    """Wherever the archive says that it lies, it is written where the caller says."""
    write_tar(server.folder / "a.tar.gz", {"other.json": b"1", name: b"[2]"})
    path = tmp_path / "out" / "mine.json"
    fetch_archived(f"{server.url}/a.tar.gz", "val.json", path)
    assert set(files(tmp_path / "out")) == {"a.tar.gz", "a.tar.gz.from", "mine.json"}
    assert path.read_bytes() == b"[2]"
    before = len(server.requests)
    path.unlink()
    fetch_archived(f"{server.url}/a.tar.gz", "val.json", path)
    assert len(server.requests) == before, "the archive is kept"
    (server.folder / "mirror").mkdir()
    write_tar(server.folder / "mirror" / "a.tar.gz", {"val.json": b"[3]"})
    fetch_archived(f"{server.url}/mirror/a.tar.gz?download=1", "val.json", path)
    assert path.read_bytes() == b"[3]", "one from another address is not taken for it"


def test_a_tar_archive_without_the_file_is_an_error(server, tmp_path):
    write_tar(server.folder / "a.tar.gz", {"other.json": b"1"})
    with pytest.raises(DownloadError, match=r"there is no val\.json in this archive"):
        fetch_archived(f"{server.url}/a.tar.gz", "val.json", tmp_path / "val.json")
    whole = (server.folder / "a.tar.gz").read_bytes()
    (server.folder / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DownloadError, match=r"this is not a complete \.tar\.gz archive"):
        fetch_archived(f"{server.url}/b.tar.gz", "val.json", tmp_path / "val.json")
    assert not (tmp_path / "b.tar.gz").exists(), "so that the next try fetches it anew"
    assert not (tmp_path / "val.json").exists()
    with pytest.raises(DownloadError, match="404"):
        fetch_archived(f"{server.url}/none.tar.gz", "val.json", tmp_path / "val.json")


def test_a_file_is_taken_out_of_a_zip_archive(server, archive, tmp_path):
    fetch_archived(archive, "images/3.jpg", tmp_path / "3.jpg")
    assert files(tmp_path)["3.jpg"] == MEMBERS["images/3.jpg"]
    with pytest.raises(DownloadError, match=r"there is no images/99\.jpg"):
        fetch_archived(archive, "images/99.jpg", tmp_path / "99.jpg")
