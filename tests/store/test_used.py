"""Cleaning the store keeps what tables were written from, also after a working folder was moved."""

import shutil
import time

import polars as pl
import pytest

from vlmflow.store.measurements import Collection, Measurement
from vlmflow.store.used import RECENT, clean, note_used
from vlmflow.tables import Column, Table

TABLE = Table("numbers", {"question_id": Column(pl.String, "id"), "value": Column(pl.Float64, "of something")})
LATER = time.time() + 100 * RECENT


def measure(store, model, *keys):
    with Collection("numbers", {"model": model}, TABLE, store) as collection:
        for key in keys:
            collection.add(key, Measurement(pl.DataFrame({"value": [1.0]})))
    return collection.folder


def kept(folder):
    files = folder.glob("*.parquet")
    return {key for file in files for key in pl.read_parquet(file)["key"]}


@pytest.fixture
def results(tmp_path):
    """A table of results on two of three questions, in a working folder with its store."""
    work = tmp_path / "work"
    store = work / "results" / "store"
    folder = measure(store, "m", "a", "b", "c")
    table = work / "results" / "s" / "m" / "flow" / "1-of-1.parquet"
    table.parent.mkdir(parents=True)
    table.write_text("a table")
    note_used(store, table, folder, ["a", "b"])
    return work, store, folder, table


def test_what_no_table_uses_is_removed(results):
    _, store, folder, _ = results
    unused = measure(store, "another model", "a")
    done = clean(store, LATER)
    assert kept(folder) == {"a", "b"}
    assert not unused.exists()
    assert (done.kept, done.removed) == (2, 2)
    assert done.size > 0
    assert (clean(store, LATER).kept, kept(folder)) == (2, {"a", "b"})


def test_the_measurements_of_deleted_results_are_removed(results):
    _, store, folder, table = results
    table.unlink()
    assert clean(store, LATER).removed == 3
    assert not folder.exists()


def test_a_table_that_was_written_anew_uses_only_what_it_used_then(results):
    _, store, folder, table = results
    other = measure(store, "another model", "c")
    note_used(store, table, other, ["c"])
    assert clean(store, LATER).kept == 1
    assert not folder.exists()
    assert kept(other) == {"c"}


def test_what_was_just_measured_stays(results):
    """Its job may still run."""
    _, store, folder, _ = results
    assert clean(store, time.time()).removed == 0
    assert kept(folder) == {"a", "b", "c"}


def test_a_working_folder_can_be_moved_with_its_store(results, tmp_path):
    work, _, _, _ = results
    moved = tmp_path / "moved"
    shutil.move(work, moved)
    store = moved / "results" / "store"
    assert clean(store, LATER).kept == 2
    again = Collection("numbers", {"model": "m"}, TABLE, store)
    again.load(["a"])
    assert again.find("a", lambda count: [None][:count]) is not None


def test_what_a_killed_job_left_half_written_is_removed(results):
    _, store, folder, _ = results
    (whole,) = folder.glob("*.parquet")
    broken = [folder / f".{whole.stem}-abcdefgh.parquet", folder / "broken.parquet"]
    for path in broken:
        path.write_bytes(whole.read_bytes()[:20])
    assert clean(store, time.time()).kept == 3
    assert all(path.exists() for path in broken), "their jobs may still run"
    assert clean(store, LATER).kept == 2
    assert not any(path.exists() for path in broken)
    assert kept(folder) == {"a", "b"}


def test_an_empty_store_is_clean(tmp_path):
    assert clean(tmp_path / "none", LATER).kept == 0
