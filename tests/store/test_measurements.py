"""The files of the store: found again as they were, whatever is killed, and by several jobs at once."""

import threading

import polars as pl
import pytest

from vlmflow.store import measurements
from vlmflow.store.measurements import END, Collection, Measurement
from vlmflow.tables import Column, Skipped, Table

TABLE = Table(
    "numbers",
    {
        "task": Column(pl.String, "name"),
        "question_id": Column(pl.String, "id"),
        "image_id": Column(pl.String, "id"),
        "layer": Column(pl.Int32, "from 0"),
        "value": Column(pl.Float64, "of something", nullable=True),
        "list": Column(pl.List(pl.Float64), "of numbers", nullable=True),
    },
)
ROWS = pl.DataFrame(
    {
        "layer": [0, 1, 2],
        "value": [0.1, None, 1e-300],
        "list": [[1.0, float("inf")], [], None],
    },
    schema={"layer": pl.Int32, "value": pl.Float64, "list": pl.List(pl.Float64)},
)


def about(rows=ROWS):
    columns = {name: pl.lit("x") for name in ("task", "question_id", "image_id")}
    return TABLE.frame(rows.with_columns(**columns))


def collection(folder, depends_on=None):
    return Collection("numbers", depends_on or {"model": "m"}, TABLE, folder)


def none(count):
    assert count == 0
    return []


def test_a_measurement_is_found_again_to_the_last_bit(tmp_path):
    parts = [Skipped("q", "image -> last", "no such edge")]
    with collection(tmp_path) as store:
        store.add("k", Measurement(about(), parts))
        store.add("empty", Measurement(about(ROWS.clear())))
        store.add("failed", Measurement(None, failure=("PromptError", "why")))
    again = collection(tmp_path)
    again.load(["k", "empty", "failed", "other"])
    found = again.find("k", none)
    assert found.rows.equals(ROWS)
    assert found.rows.schema == ROWS.schema
    assert found.left_out == [Skipped("", "image -> last", "no such edge")]
    assert again.find("empty", none).rows.equals(ROWS.clear())
    assert again.find("failed", none) == Measurement(None, [], ("PromptError", "why"))
    assert again.find("other", none) is None


def test_only_the_same_address_finds_it(tmp_path):
    with collection(tmp_path) as store:
        store.add("k", Measurement(about()))
    for other in (
        collection(tmp_path, {"model": "n"}),
        Collection("others", {"model": "m"}, TABLE, tmp_path),
        collection(tmp_path / "elsewhere"),
    ):
        other.load(["k"])
        assert other.find("k", none) is None


def test_a_measurement_that_read_other_questions_is_valid_only_if_these_are_the_same(tmp_path):
    with collection(tmp_path) as store:
        store.add("k", Measurement(about(), others=("a", "b")))
        store.add("all", Measurement(about(), others=("a", END)))
    again = collection(tmp_path)
    again.load(["k", "all"])
    assert again.find("k", lambda count: ["a", "b", "c"][:count]) is not None
    assert again.find("k", lambda count: ["a", "c"][:count]) is None
    assert again.find("all", lambda count: ["a", END][:count]) is not None
    assert again.find("all", lambda count: ["a", "b"][:count]) is None, "there is one more question now"


def test_what_was_measured_is_in_a_file_after_a_while_and_in_one_file_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "SAVED_EVERY", 0)
    monkeypatch.setattr(measurements, "MOST_FILES", 4)
    store = collection(tmp_path)
    for number in range(30):
        store.add(f"k{number}", Measurement(about()))
        killed_now = collection(tmp_path)  # finds what is in files
        killed_now.load([f"k{other}" for other in range(30)])
        assert [killed_now.find(f"k{other}", none) is not None for other in range(30)] == [
            other <= number for other in range(30)
        ]
        assert len(list(store.folder.glob("*.parquet"))) <= 5
    store.save(whole=True)
    (file,) = store.folder.glob("*.parquet")
    assert len(pl.read_parquet(file)) == 30


def test_nothing_is_written_before_it_is_time(tmp_path):
    store = collection(tmp_path)
    store.add("k", Measurement(about()))
    assert not list(tmp_path.rglob("*.parquet"))


def test_several_jobs_add_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "SAVED_EVERY", 0)
    monkeypatch.setattr(measurements, "MOST_FILES", 3)

    def job(number):
        with collection(tmp_path) as store:
            store.load(f"k{other}" for other in range(40))
            for other in range(10 * number, 10 * number + 15):  # some of them are those of the next job
                store.add(f"k{other}", Measurement(about()))

    threads = [threading.Thread(target=job, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = collection(tmp_path)
    again.load(f"k{other}" for other in range(45))
    assert all(again.find(f"k{other}", none).rows.equals(ROWS) for other in range(45))


def test_a_damaged_file_costs_its_own_measurements_only(tmp_path, capsys):
    for key in ("one", "two"):
        with collection(tmp_path) as store:
            store.add(key, Measurement(about()))
    files = sorted(store.folder.glob("*.parquet"))
    files[0].write_bytes(files[0].read_bytes()[:100])
    again = collection(tmp_path)
    again.load(["one", "two"])
    assert [again.find(key, none) is None for key in ("one", "two")].count(True) == 1
    assert f"{files[0]} cannot be read" in capsys.readouterr().out


def test_a_job_that_adds_nothing_leaves_nothing(tmp_path):
    with collection(tmp_path) as store:
        store.load(["k"])
    assert list(tmp_path.rglob("*")) == []


def test_the_folder_says_what_its_measurements_depend_on(tmp_path):
    with collection(tmp_path, {"model": {"dtype": "float32"}}) as store:
        store.add("k", Measurement(about()))
    assert '"dtype": "float32"' in (store.folder / "about.json").read_text()


@pytest.mark.parametrize("name", [None, "elsewhere"])
def test_the_environment_can_name_another_folder(name, monkeypatch):
    monkeypatch.delenv(measurements.FOLDER, raising=False)
    if name:
        monkeypatch.setenv(measurements.FOLDER, name)
    assert str(measurements.store_folder()) == (name or "results/store")
