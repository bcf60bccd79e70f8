"""States as safetensors: the same numbers as in the table, the same bytes from the same tables."""

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from support.paths import WORDS
from support.rows import shown
from vlmflow.errors import TableError, WriteError
from vlmflow.probes import StatesProbe
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.states import export
from vlmflow.probes.states.export import INDEX, export_states
from vlmflow.tables import Shard, shard_names

SEGMENTS = ["last", "objects", "question"]
TASKS = ("b", "a")


@pytest.fixture(scope="module", params=["mean", "all"])
def rows(request, random_vlm, noise_questions):
    """The table of two tasks with the same questions, the last of which does not name its object."""
    probe = StatesProbe(kind="states", segments=SEGMENTS, tokens=request.param, form="safetensors")
    run = ProbeRun(random_vlm, probe, "s", questions=noise_questions)
    found = pl.concat([run.measure(question) for question in noise_questions])
    return pl.concat([found.with_columns(task=pl.lit(task)) for task in TASKS])


def exported(folder, rows, shards=1):
    """(tensors, index, the bytes of both files)."""
    paths = [folder / f"{name}.parquet" for name in shard_names(shards)]
    for name, path in zip(shard_names(shards), paths, strict=True):
        StatesProbe.table.write(Shard.parse(name).questions(rows), path)
    states, index = folder / "states.safetensors", folder / "index.parquet"
    export_states(paths, states, index)
    return load_file(states), INDEX.read(index), states.read_bytes() + index.read_bytes()


def test_every_row_of_the_table_is_a_row_of_a_tensor(tmp_path, rows):
    tensors, index, _ = exported(tmp_path, rows)
    assert set(tensors) == {f"{segment}.layer_{layer}" for segment in SEGMENTS for layer in range(-1, 3)}
    assert sum(len(each) for each in tensors.values()) == len(rows)
    about = ["task", "question_id", "image_id", "segment", "position", "token"]
    back = []
    for (segment,), of_segment in index.group_by("segment", maintain_order=True):
        assert of_segment["row"].to_list() == list(range(len(of_segment)))
        keys = of_segment.select("task", "question_id", pl.col("position").fill_null(-1)).rows()
        assert keys == sorted(keys)
        for layer in range(-1, 3):
            tensor = tensors[f"{segment}.layer_{layer}"]
            assert (tensor.dtype, tensor.shape) == (np.float32, (len(of_segment), 16))
            states = pl.Series(tensor).arr.to_list()
            back.append(of_segment.select(about).with_columns(layer=pl.lit(layer, dtype=pl.Int32), states=states))
    order = ["task", "question_id", "segment", "layer", "position"]
    assert StatesProbe.table.frame(pl.concat(back)).sort(order).equals(rows.sort(order))
    assert set(index.filter(segment="objects")["question_id"]) == {"0", "1", "2"}


def test_the_index_has_the_positions_of_tokens(tmp_path, rows, random_vlm, noise_questions):
    _, index, _ = exported(tmp_path, rows)
    if rows["position"].null_count():
        assert index["position"].null_count() == index["token"].null_count() == len(index)
        return
    for question in noise_questions:
        words = index.filter(task="a", segment="question", question_id=question.id)
        assert words["position"].to_list() == shown(random_vlm, question).positions("question").tolist()
        assert words["token"].to_list() == [word if word in WORDS else "<unk>" for word in question.text.split()]


def test_the_same_tables_give_the_same_bytes_in_any_number_of_shards(tmp_path, rows):
    first = exported(tmp_path, rows)[2]
    # Several entries would stand in another order in each process.
    with safe_open(tmp_path / "states.safetensors", "numpy") as file:
        assert list(file.metadata()) == ["content"]
    assert exported(tmp_path, rows)[2] == first
    assert exported(tmp_path, rows, shards=3)[2] == first
    changed = rows.with_columns(pl.when(pl.col("layer") == 2).then(pl.col("states").list.reverse()).otherwise("states"))
    assert exported(tmp_path, changed)[2] != first


def test_a_probe_that_measured_nothing_gives_files_without_tensors(tmp_path):
    tensors, index, _ = exported(tmp_path, StatesProbe.table.frame([]))
    assert tensors == {}
    assert len(index) == 0


def test_files_are_written_whole_or_not_at_all(tmp_path, rows, monkeypatch):
    before = exported(tmp_path, rows)[2]

    def fails(_tensors, path, _metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "save_file", fails)
    states, index = tmp_path / "states.safetensors", tmp_path / "index.parquet"
    with pytest.raises(WriteError, match=r"states\.safetensors cannot be written: the disk is full"):
        export_states([tmp_path / "1-of-1.parquet"], states, index)
    assert states.read_bytes() + index.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"1-of-1.parquet", states.name, index.name}
    with pytest.raises(WriteError):
        export_states([tmp_path / "1-of-1.parquet"], tmp_path / "new.safetensors", index)
    assert not (tmp_path / "new.safetensors").exists()


def test_another_table_is_refused_by_its_name(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(TableError, match=r"other\.parquet: table states: without the column\(s\)"):
        export_states([tmp_path / "other.parquet"], tmp_path / "s", tmp_path / "i")
    assert [path.name for path in tmp_path.iterdir()] == ["other.parquet"]
