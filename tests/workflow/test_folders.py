"""Folders whose names mean something to a shell or to Snakemake, with Python inside of them, and another encoding."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import yaml

from support.paths import ROOT
from support.studies import smallest_study
from support.workspace import ASCII, Workspace

NAME = 'my it\'s "project"'
RUN = """
import sys
sys.path.insert(0, {library!r})
from vlmflow.jobs.quoting import quote_paths
quote_paths(str(workflow.basedir))

rule all:
    input: "a", "b"
    default_target: True

rule in_a_process_of_its_own:
    output: "a"
    run:
        import sys
        open(output[0], "w").write(sys.executable)

rule by_a_script:
    output: "b"
    script: "by.py"
"""


def python_inside(folder):
    """A Python that lies in the folder and has everything that the one of the tests has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    own = subprocess.run(
        [folder / ".venv/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(own) / "those.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / ".venv/bin/python")


def test_python_may_lie_in_a_folder_that_a_shell_would_split(tmp_path):
    """All that a shell would take apart at once; .ci/run has a simpler name of this kind."""
    (folder := tmp_path / NAME).mkdir()
    workspace = Workspace(folder, python_inside(folder))
    workspace.write(smallest_study())
    done = workspace.snakemake("--until", "select_candidates")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results/small/candidates/QueryAttr.parquet").is_file()


def test_jobs_in_processes_of_their_own_use_the_same_python(tmp_path):
    """As jobs of a cluster are started too."""
    (folder := tmp_path / NAME).mkdir()
    python = python_inside(folder)
    (folder / "Snakefile").write_text(RUN.format(library=str(ROOT / "workflow_scripts")))
    (folder / "by.py").write_text("import sys\nopen(snakemake.output[0], 'w').write(sys.executable)\n")
    done = subprocess.run(
        [python, "-m", "snakemake", "--cores", "1"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "a").read_text() == (folder / "b").read_text() == python


GUARD = """
import sys
sys.path.insert(0, sys.argv[1])
from snakemake.script import PythonScript
from vlmflow.errors import FolderError
from vlmflow.jobs.quoting import quote_paths

def execute_script(self, fname, edit=False):
    self._execute_cmd(f"{sys.executable} {fname}")

PythonScript.execute_script = execute_script
sys.executable = "/plain/python"
quote_paths("/plain")
try:
    quote_paths("/my project")
except FolderError as error:
    print(error)
"""


def test_a_snakemake_that_starts_python_in_another_way_is_reported(tmp_path):
    (tmp_path / "guard.py").write_text(GUARD)
    command = [sys.executable, tmp_path / "guard.py", ROOT / "workflow_scripts"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("/plain: Snakemake 9")
    assert "install the workflow in a folder whose path has no spaces" in done.stdout


def test_a_folder_with_braces_is_refused_by_name(tmp_path):
    (folder := tmp_path / "{x}").mkdir()
    workspace = Workspace(folder)
    workspace.write(smallest_study())
    done = workspace.snakemake("--dry-run")
    assert done.returncode != 0
    assert f"{folder}: Snakemake reads braces in a path as a placeholder" in done.stdout + done.stderr
    assert "NameError" not in done.stdout + done.stderr


def test_a_run_works_in_a_locale_that_is_not_utf_8(tmp_path):
    workspace = Workspace(tmp_path, sys.executable, **ASCII)
    written = smallest_study() | {"tasks": {"QueryAttr": {"structural": "query", "semantic": "attr"}}}
    written["figures"]["f"]["title"] = "où → ü"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    done = workspace.snakemake("--until", "select_candidates")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_clusters_profile_is_read_whatever_the_locale():
    read = "import sys; from snakemake.profiles import ProfileConfigFileParser as P; P().parse(open(sys.argv[1]))"
    profile = ROOT / "profiles/slurm/config.yaml"
    subprocess.run([sys.executable, "-c", read, profile], check=True, env=ASCII)
