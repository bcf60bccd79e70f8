"""One model that fails does not take the summaries, figures and report of the others with it."""

import json
import shutil

import polars as pl
import pytest

from support.paths import TINY_LLAVA
from support.workspace import Workspace
from vlmflow.jobs.second_run import _where_given, is_command, is_left_out, told, without_forcing

STUDY = {
    "study": "two",
    "dataset": {"source": "synthetic", "images": 12, "seed": 0},
    "tasks": {"QueryAttr": {"structural": "query", "semantic": "attr"}},
    "sample": {"per_task": 3, "seed": 0},
    "models": {
        "bad": {"path": "my/bad", "dtype": "float32", "gpus": 0},
        "good": {"path": "resources/tiny-llava", "dtype": "float32", "gpus": 0},
    },
    "probes": {
        "flow": {"kind": "knockout", "window": 3, "edges": ["image -> question"]},
        "tracking": {"kind": "lens", "models": ["bad"]},
    },
    "figures": {
        "edges": {"chart": "flow", "probe": "flow", "edges": ["image -> question"]},
        "words": {"chart": "lens", "probe": "tracking"},
    },
}


def test_what_is_left_out():
    left = [{"model": "a", "task": "T", "why": "x"}, {"model": "b", "task": "T", "probe": "flow", "why": "y"}]
    assert is_left_out(left, "a", "T")
    assert is_left_out(left, "a", "T", "flow")
    assert not is_left_out(left, "a", "U")
    assert is_left_out(left, "b", "T", "flow")
    assert not is_left_out(left, "b", "T")
    assert not is_left_out(left, "b", "T", "lens")
    assert told([*left, left[0]], ["b", "a", "c"]) == ["  b: y", "  a: x"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("all -F --cores 2 --configfile mine.yaml", "all --cores 2 --configfile mine.yaml"),
        ("--cores 2 -R draw_figure run_probe --forceall -p", "--cores 2 -p"),
        ("-pF --forcerun=answer_questions -c2", "-p -c2"),
        ("-Ranswer_questions draw_figure -sSnakefile", "-sSnakefile"),
        ("--forcerun a b -- all", "-- all"),
        ("--force-use-threads -pR x -k", "--force-use-threads -p -k"),
    ],
)
def test_the_second_run_forces_nothing(given, kept):
    assert without_forcing(given.split()) == kept.split()


def test_the_second_run_begins_where_the_command_was_given(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.chdir(tmp_path / "sub")  # as Snakemake does
    for given in ("-d sub", "-dsub", "--directory sub", "--directory=sub", f"-d {tmp_path}/sub"):
        assert _where_given(["--cores", "2", *given.split()]) == tmp_path
    assert _where_given(["--cores", "2"]) == tmp_path / "sub"
    with pytest.raises(FileNotFoundError, match="in which folder the command was given"):
        _where_given(["-d", "other"])


def test_how_snakemake_was_started():
    assert is_command("/home/me/my project/.venv/bin/snakemake")
    assert is_command("/usr/lib/python3/site-packages/snakemake/__main__.py")
    assert not is_command("/usr/bin/pytest")


@pytest.mark.slow
def test_the_others_are_finished_and_the_mended_one_joins_them(tmp_path):
    space = Workspace(tmp_path)
    shutil.copytree(TINY_LLAVA, tmp_path / "my/bad")
    file = tmp_path / "my/bad/processor_config.json"
    right = file.read_text()
    file.write_text(json.dumps(json.loads(right) | {"patch_size": 15}))
    space.write(STUDY)

    done = space.snakemake()
    assert done.returncode == 1
    told = "my/bad: the processor's files say patch_size: 15, but config.json says vision_config.patch_size: 16"
    assert done.stderr.count(f"  {told}") == 1, "a line for the reason, not for the job"
    assert f"All others are finished without these:\n  bad: {told}" in done.stderr
    assert "Traceback" not in done.stderr
    results = tmp_path / "results/two"
    page = (results / "index.html").read_text()
    assert "What failed" in page
    assert "vision_config.patch_size: 16" in page
    assert "figures/edges/good.html" in page
    assert pl.read_parquet(results / "summary/flow.parquet")["model"].unique().to_list() == ["good"]
    assert sorted(path.name for path in (results / "figures").glob("*/*.png")) == ["good.png"]

    file.write_text(right)
    done = space.snakemake()
    assert done.returncode == 0, done.stderr
    page = (results / "index.html").read_text()
    assert "What failed" not in page
    assert "figures/edges/bad.html" in page
    assert set(pl.read_parquet(results / "summary/flow.parquet")["model"]) == {"good", "bad"}
    assert "Nothing to be done" in space.snakemake().stderr
