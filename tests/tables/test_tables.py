import fcntl
import subprocess
import sys

import polars as pl
import pytest

from vlmflow.errors import QuestionError, TableError
from vlmflow.jobs.job import for_each_question, logged
from vlmflow.tables import SKIPPED, Column, Table, atomic_write
from vlmflow.tables.writing import _remove_unused

TABLE = Table("t", {"a": Column(pl.Int32, "a number"), "b": Column(pl.Float64, "a share", nullable=True)})


def test_written_and_read_back(tmp_path):
    TABLE.write([{"a": 1, "b": 0.5}, {"a": 2, "b": None}], tmp_path / "x" / "t.parquet")
    frame = TABLE.read(tmp_path / "x" / "t.parquet")
    assert frame.schema == TABLE.schema
    assert frame.rows() == [(1, 0.5), (2, None)]
    assert TABLE.frame([]).schema == TABLE.schema


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.DataFrame({"a": [1]}), r"without the column\(s\) b"),
        (pl.DataFrame({"a": [None], "b": [1.0]}), "column a: 1 value"),
        (pl.DataFrame({"a": [1], "b": [float("nan")]}), "column b: 1 value.* not a number"),
        (pl.DataFrame({"a": ["x"], "b": [1.0]}), "table t"),
    ],
)
def test_a_table_with_other_columns_or_values_is_refused(rows, message):
    with pytest.raises(TableError, match=message):
        TABLE.frame(rows)


def test_an_error_of_reading_names_the_file(tmp_path):
    path = tmp_path / "other.parquet"
    pl.DataFrame({"c": [1]}).write_parquet(path)
    with pytest.raises(TableError, match=r"other\.parquet: table t: without"):
        TABLE.read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(TableError, match=r"other\.parquet"):
        TABLE.read(path)


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_one_broken_question_stops_no_other():
    def work(row):
        if row["question_id"] == "b":
            raise QuestionError("no image")
        return row["question_id"]

    frame = pl.DataFrame({"task": ["T", "T", "U"], "question_id": ["a", "b", "c"]})
    results, skipped = for_each_question(frame, work, stage="answers", model="m")
    assert results == ["a", "c"]
    assert SKIPPED.frame(skipped).rows() == [("b", "T", "m", "answers", "", "no image")]


def test_an_error_of_the_job_is_logged_and_raised(tmp_path, capsys):
    def work(row):
        raise MemoryError("no room")

    with pytest.raises(MemoryError), logged(str(tmp_path / "log")):
        for_each_question(pl.DataFrame({"task": ["T"], "question_id": ["a"]}), work, stage="answers", model="m")
    assert "MemoryError: no room" in (tmp_path / "log").read_text()


def test_files_that_a_killed_process_left_are_removed(tmp_path):
    """And nothing that another process is still writing, or that only looks alike."""
    code = (
        "import sys, os; from vlmflow.tables import atomic_write\n"
        "with atomic_write(sys.argv[1]) as name: name.write_text('half'); print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.parquet")], **pipes) for _ in range(2)]
    for writer in writers:
        writer.stdout.readline()
    (tmp_path / ".a-note.parquet").touch()
    writers[0].kill()
    writers[0].wait()
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_write(tmp_path / "a.parquet") as temporary:
        temporary.write_text("whole")
    assert len(list(tmp_path.iterdir())) == 3  # the note, the file, and what is being written
    writers[1].communicate("", timeout=30)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a-note.parquet", "a.parquet"]


def test_a_file_that_another_process_takes_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    """Between its creation and its lock, nothing shows that it is being written."""
    lock, removed = fcntl.flock, []

    def lock_too_late(file, operation):
        if not removed:
            removed.extend(tmp_path.iterdir())
            _remove_unused(*removed)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with atomic_write(tmp_path / "a.txt") as temporary:
        assert temporary.exists(), "it is the file that is locked; writing would make another one"
        temporary.write_text("whole")
    assert len(removed) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_reader_of_the_old_file_never_sees_a_part_of_the_new_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
