"""Snakemake's own objects, as the version in constraints.txt has them, through the one module that asks them."""

import json
import re
import subprocess
from importlib.metadata import version

import pytest

from support.paths import ROOT
from support.workspace import SNAKEMAKE
from vlmflow.errors import StudyError
from vlmflow.jobs.snakemake import explained_by_snakemake, is_command

SNAKEFILE = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, "{ROOT}/workflow_scripts")
from vlmflow.jobs.snakemake import Invocation, inform

invocation = Invocation(workflow)

if invocation.wants_default_study:
    configfile: "config.yaml"

rule all:
    default_target: True
    input: "first", "second", "third"

rule first:
    output: "first"
    resources: gpu=1
    shell: "touch {{output}}"

rule second:
    input: "first"
    output: "second"
    log: "second.log"
    shell: "false"

rule third:
    input: "second"
    output: "third"
    shell: "touch {{output}}"

def note(name, **facts):
    Path(name + ".json").write_text(json.dumps(facts))

if invocation.is_main_process:
    note(
        "read",
        home=str(invocation.home),
        files=invocation.study_files,
        imported=invocation.is_module,
        gpus=invocation.gpu_limit,
        runs=invocation.runs_jobs,
        most=invocation.default_resource("most_mem_mb"),
        none=invocation.default_resource("gpu_type"),
        makes=[invocation.makes("first"), invocation.makes("fourth")],
    )

def names(jobs):
    return sorted(job.rule.name for job in jobs)

onstart:
    inform(lambda: "begun with " + ", ".join(names(invocation.jobs.to_run)))
    inform(lambda: 1 / 0)

onerror:
    jobs = invocation.jobs
    failed = invocation.failed_jobs
    note(
        "ended",
        all=names(jobs),
        this_run=names(jobs.of_this_run),
        unfinished=names(jobs.unfinished),
        failed=names(failed),
        logs=[str(log) for job in failed for log in job.log],
        dependents=names(jobs.with_dependents(failed[0])),
        needs=names(jobs.needs(failed[0])),
        number=jobs.number(failed[0]),
        asked=[jobs.is_target("all"), jobs.is_target("first")],
        runs=invocation.runs_jobs,
        local=invocation.is_local,
        arguments=invocation.arguments,
    )
"""


def snakemake(folder, *arguments):
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "config.yaml").write_text("study: default\n")
    done = subprocess.run([*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / "read.json").is_file(), done.stdout + done.stderr
    return done


def test_targets_files_and_resources_of_an_invocation_are_known(tmp_path):
    arguments = ["--cores", "1", "--resources", "gpu=3", "--default-resources", "most_mem_mb=700"]
    done = snakemake(tmp_path, *arguments)
    assert done.returncode == 1
    assert "begun with all, first, second, third" in done.stderr
    assert json.loads((tmp_path / "read.json").read_text()) == {
        "home": str(tmp_path),
        "files": ["config.yaml"],
        "imported": False,
        "gpus": 3,
        "runs": False,
        "most": "700",
        "none": None,
        "makes": [True, False],
    }
    ended = json.loads((tmp_path / "ended.json").read_text())
    assert ended.pop("number") > 0
    assert ended == {
        "all": ["all", "first", "second", "third"],
        "this_run": ["all", "first", "second", "third"],
        "unfinished": ["all", "second", "third"],
        "failed": ["second"],
        "logs": ["second.log"],
        "dependents": ["all", "second", "third"],
        "needs": ["first"],
        "asked": [True, False],
        "runs": True,
        "local": True,
        "arguments": arguments,
    }


def test_a_dry_run_reads_the_given_study_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("study: mine\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stderr
    read = json.loads((tmp_path / "read.json").read_text())
    assert (read["files"], read["gpus"], read["most"]) == ([str(tmp_path / "mine.yaml")], None, None)


UNKNOWN_AT_FIRST = f"""
import sys
from pathlib import Path
sys.path.insert(0, "{ROOT}/workflow_scripts")
from vlmflow.jobs.snakemake import evaluate_params_at_start

if config.get("evaluate"):
    evaluate_params_at_start()
    evaluate_params_at_start()

rule third:
    input: "second"
    output: "third"
    shell: "cp {{input}} {{output}}"

rule second:
    input: "first"
    output: "second"
    params: length=lambda wildcards: len(Path("first").read_text())
    shell: "echo {{params.length}} > {{output}}"

rule first:
    output: "first"
    shell: "echo one > {{output}}"
"""


@pytest.mark.parametrize(("evaluate", "known"), [(True, True), (False, False)])
def test_params_that_were_unknown_when_jobs_were_planned_are_recorded(tmp_path, evaluate, known):
    """If Snakemake itself records them, as the second case checks, nothing of ours is needed any more."""
    (tmp_path / "Snakefile").write_text(UNKNOWN_AT_FIRST)

    def run():
        command = [*SNAKEMAKE, "--cores", "1", *(["--config", "evaluate=yes"] if evaluate else [])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    run()
    for name in ("first", "second", "third"):
        (tmp_path / name).unlink()
    run()
    assert ("Nothing to be done" in run()) is known


def test_the_oldest_version_is_the_tested_one():
    (oldest,) = re.findall(r'min_version\("(.+)"\)', (ROOT / "Snakefile").read_text())
    assert version("snakemake") >= oldest
    assert f"snakemake=={oldest}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_a_command_of_snakemake_is_recognised():
    assert is_command("/home/me/my project/.venv/bin/snakemake")
    assert is_command("/usr/lib/python3/site-packages/snakemake/__main__.py")
    assert not is_command("/usr/bin/pytest")


def test_errors_that_a_user_can_correct_are_snakemakes_own():
    from snakemake.exceptions import WorkflowError

    with pytest.raises(WorkflowError, match="study: this key is missing"), explained_by_snakemake():
        raise StudyError("study: this key is missing")
    with pytest.raises(ZeroDivisionError), explained_by_snakemake():
        raise ZeroDivisionError
