"""Which measurements a second run leaves out, and with which command it is started."""

import pytest

from vlmflow.jobs.second_run import folder_of_command, is_left_out, reason_lines, without_forcing


def test_failed_measurements_are_left_out():
    left = [
        {"model": "a", "why": "x"},
        {"model": "b", "probe": "flow", "why": "y"},
        {"model": "c", "table": "accuracy", "why": "z"},
    ]
    assert is_left_out(left, "a")
    assert is_left_out(left, "a", "flow")
    assert is_left_out(left, "b", "flow")
    assert not is_left_out(left, "b")
    assert not is_left_out(left, "b", "lens")
    assert not is_left_out(left, "c")
    assert not is_left_out(left, "c", "flow")
    assert not is_left_out(left, "d")
    assert reason_lines([*left, left[0]], ["b", "a", "d", "c"]) == ["  b: y", "  a: x", "  c: z"]


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
        assert folder_of_command(["--cores", "2", *given.split()]) == tmp_path
    assert folder_of_command(["--cores", "2"]) == tmp_path / "sub"
    with pytest.raises(FileNotFoundError, match="the folder in which the command was given"):
        folder_of_command(["-d", "other"])
