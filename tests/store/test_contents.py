"""Digests of files: a changed content is noticed however old it looks, and a touched file is not read again."""

import hashlib
import os
import time

import pytest

from vlmflow.store import contents as module
from vlmflow.store.contents import Contents


@pytest.fixture
def note(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", 0)
    return tmp_path / "store" / "contents.parquet"


def digests(note, *paths):
    """The digests that a new process would find, which it keeps."""
    contents = Contents(note)
    found = [contents.digest(path) for path in paths]
    contents.save()
    return found


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_it_is_the_sha256_of_the_content(tmp_path, note):
    (tmp_path / "a").write_text("red")
    assert digests(note, tmp_path / "a") == digests(note, tmp_path / "a") == [sha("red")]


def test_a_changed_content_with_the_same_size_and_an_old_date_is_noticed(tmp_path, note):
    path = tmp_path / "weights"
    path.write_text("red")
    os.utime(path, (1e9, 1e9))
    assert digests(note, path) == [sha("red")]
    other = tmp_path / "other"
    other.write_text("rot")
    os.utime(other, (1e9, 1e9))
    other.replace(path)
    assert digests(note, path) == [sha("rot")]
    with path.open("r+") as file:
        file.write("bla")
    os.utime(path, (1e9, 1e9))
    assert digests(note, path) == [sha("bla")]


def test_an_unchanged_file_is_not_read_again(tmp_path, note, monkeypatch):
    path = tmp_path / "weights"
    path.write_text("red")
    time.sleep(0.01)
    assert digests(note, path) == [sha("red")]
    monkeypatch.setattr(module.hashlib, "file_digest", None)
    assert digests(note, path) == [sha("red")]


def test_a_file_that_has_just_been_written_is_read_again(tmp_path):
    """Its time may not change if it is written once more at once."""
    note = tmp_path / "contents.parquet"
    (tmp_path / "a").write_text("red")
    digests(note, tmp_path / "a")
    assert not note.exists()


def test_a_file_of_the_hubs_cache_is_known_by_its_name(tmp_path, note):
    blob = tmp_path / "blobs" / ("a" * 64)
    blob.parent.mkdir()
    blob.write_text("red")
    link = tmp_path / "snapshots" / "model.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)
    assert digests(note, link) == ["a" * 64]


def test_several_files_are_digested_by_name_and_content_in_whichever_folder(tmp_path, note):
    for folder, text in (("one", "red"), ("two", "red"), ("three", "blue")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text(text)
    one, two, three = (Contents(note).digest_of_all([tmp_path / name / "a"]) for name in ("one", "two", "three"))
    assert one == two != three


def test_a_missing_file_is_an_error_and_a_damaged_note_is_none(tmp_path, note):
    with pytest.raises(FileNotFoundError):
        Contents(note).digest(tmp_path / "none")
    note.parent.mkdir()
    note.write_text("not a table")
    (tmp_path / "a").write_text("red")
    assert digests(note, tmp_path / "a") == [sha("red")]


def test_two_processes_keep_what_either_has_found(tmp_path, note):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    one, two = Contents(note), Contents(note)
    one.digest(tmp_path / "a")
    two.digest(tmp_path / "b")
    one.save()
    two.save()
    assert len(module.CONTENTS.read(note)) == 2
