"""Results that cannot be written: a message to act on, nothing half-written, and no job that computes first."""

import os
import runpy
import shlex
import subprocess
import sys
from types import SimpleNamespace

import polars as pl
import pytest

from support.paths import ROOT
from support.studies import smallest_study
from support.workspace import SNAKEMAKE, Workspace
from vlmflow.errors import WriteError
from vlmflow.tables import SELECTED, atomic_write, check_writable

IDS = pl.DataFrame({"question_id": [str(number) * 9 for number in range(100_000)]}).with_columns(task=pl.lit("T"))


def mounted(options, folder, *command):
    """Run a command to whom something else is mounted on a folder, which nobody else sees."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    script = f"mount -t tmpfs {options} tmpfs {shlex.quote(str(folder))} && exec {shlex.join(map(str, command))}"
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


WRITE = """
import polars as pl, sys
from pathlib import Path
from vlmflow.tables import SELECTED, WriteError, check_writable, atomic_write
folder = Path(sys.argv[1])
ids = pl.DataFrame({"question_id": [str(number) * 9 for number in range(100_000)]}).with_columns(task=pl.lit("T"))
def page():
    with atomic_write(folder / "page.html") as name:
        name.write_text("x" * 3_000_000)
def table():
    SELECTED.write(ids, folder / "s.parquet")
def job():
    check_writable([folder / "late" / "t.parquet"])
for write in (table, page, job):
    try:
        write()
    except WriteError as error:
        print(error)
print(sorted(file.name for file in folder.rglob("*") if file.is_file()))
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o size=200k", "cannot be written: the disk is full (No space left on device); make room on the disk of"),
        ("-o ro", "is read-only, or you may not write into it (Read-only file system); make it writable, or run"),
    ],
    ids=["full", "read-only"],
)
def test_a_full_or_read_only_disk_is_named_and_holds_no_partial_file(tmp_path, options, message):
    """Tables, other files, and what is asked before a long job; nothing half-written is left."""
    (tmp_path / "write.py").write_text(WRITE)
    code, text = mounted(options, tmp_path / "disk", sys.executable, tmp_path / "write.py", tmp_path / "disk")
    *told, left = text.strip().splitlines()
    assert code == 0, text
    assert left == "[]"
    for name, line in zip(("s.parquet", "page.html", "late/t.parquet"), told, strict=True):
        assert line.startswith(f"{tmp_path}/disk/{name} cannot be written: ")
        assert message in line
        assert line.endswith("run the same command again; finished files are kept")


@pytest.fixture
def nobody():
    """Somebody who may write nothing here, also where the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_folder_of_another_user_is_named(tmp_path, nobody):
    place = "/usr/vlmflow-test"
    with pytest.raises(WriteError, match=f"{place}/t.parquet cannot be written: {place} is read-only, or you may not"):
        check_writable([f"{place}/t.parquet"])


def test_a_folder_or_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "s.parquet").mkdir(parents=True)
    for path in (tmp_path / "file" / "s.parquet", tmp_path / "folder" / "s.parquet"):
        with pytest.raises(WriteError, match=r"s\.parquet cannot be written: something else has its name"):
            SELECTED.write(IDS, path)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder", "s.parquet"]


def test_an_error_while_writing_is_not_taken_for_the_files(tmp_path):
    def read_another():
        with atomic_write(tmp_path / "a") as name:
            name.write_bytes((tmp_path / "none").read_bytes())

    with pytest.raises(FileNotFoundError, match="none"):
        read_another()
    assert list(tmp_path.iterdir()) == []


class Outputs(list):
    """Of a job, by number and by any name."""

    def __getattr__(self, name):
        return self[0]


@pytest.mark.parametrize("script", ["load_model.py", "run_probe.py", "answer_questions.py", "map_patches.py"])
def test_long_jobs_check_their_outputs_before_they_compute(tmp_path, script):
    """Nothing is read and no model loaded: what they would need is not there at all."""
    (tmp_path / "taken").write_text("a file")
    job = SimpleNamespace(log=[str(tmp_path / "log")], output=Outputs([tmp_path / "taken" / "x.parquet"]))
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "workflow_scripts" / script), {"snakemake": job})
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "taken/x.parquet cannot be written: something else has its name" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [("-o size=200k", "the disk is full"), ("-o ro", "results/small is read-only, or you may not write into it")],
    ids=["full", "read-only"],
)
def test_a_run_that_cannot_write_its_results_ends_before_any_job(tmp_path, options, message):
    workspace = Workspace(tmp_path)
    workspace.write(smallest_study())
    command = [*SNAKEMAKE, "--configfile", "study.yaml", "--cores", "2"]
    code, text = mounted(options, tmp_path / "results", *command)
    assert code != 0
    assert "results/small/index.html cannot be written: " in text
    assert message in text
    assert "localrule" not in text, "no job has begun"
