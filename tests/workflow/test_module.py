"""The workflow as a module of another one, which lies in a folder of its own."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from support import warm
from support.paths import ROOT

MODULE = f"""
module vlmflow:
    snakefile: "{ROOT}/Snakefile"
    config: config
"""


class Importer:
    """A stranger's folder with a Snakefile that imports the workflow."""

    def __init__(self, folder, *lines):
        self.folder = folder
        (folder / "Snakefile").write_text("\n".join(lines))

    def snakemake(self, *arguments):
        command = [warm.python(os.environ), "-m", "snakemake", "--cores", "1", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def count_jobs(text):
    """Rule → number of jobs, in the text of a dry run."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


@pytest.fixture
def study(tmp_path):
    """The demo's study, smaller, in the stranger's folder; its model's path is relative to the workflow's folder."""
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["dataset"]["images"] = 6
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(study))
    return study


def test_a_module_plans_the_demo_and_runs_its_first_rules(tmp_path, study):
    importer = Importer(tmp_path, 'configfile: "mine.yaml"', MODULE, "use rule * from vlmflow")
    code, text = importer.snakemake("--dry-run")
    assert code == 0, text
    jobs = count_jobs(text)
    shards, figures = study["models"]["tiny-llava"]["shards"], len(study["figures"])
    assert jobs["run_probe"] == shards * len(study["probes"])
    assert (jobs["load_model"], jobs["answer_questions"]) == (1, shards)
    assert (jobs["draw_figure"], jobs["write_report"], jobs["all"]) == (figures, 1, 1)
    code, text = importer.snakemake("results/demo/candidates/ChooseAttr.parquet")
    assert code == 0, text
    assert (tmp_path / "results/demo/candidates/ChooseAttr.parquet").is_file()


def test_a_module_reads_one_key_of_the_configuration_and_leaves_the_importers_rules_alone(tmp_path, study):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"own": 1, "vlm": study}))
    importer = Importer(
        tmp_path,
        'configfile: "mine.yaml"',
        'rule own:\n    output: "own.txt"\n    shell: "touch {output}"',
        MODULE.replace("config: config", 'config: config["vlm"]'),
        "use rule * from vlmflow exclude all as *",
        'rule all:\n    default_target: True\n    input: "own.txt", "results/demo/questions.parquet"',
        'onsuccess:\n    print("the importer ended")',
    )
    code, text = importer.snakemake()
    assert code == 0, text
    assert "the importer ended" in text
    assert (tmp_path / "own.txt").is_file()
    assert (tmp_path / "results/demo/questions.parquet").is_file()


def test_a_module_reports_mistakes_before_any_job(tmp_path, study):
    study["probes"]["flow"]["window"] = 11
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(study))
    lines = ('configfile: "mine.yaml"', MODULE, "use rule * from vlmflow")
    code, text = Importer(tmp_path, *lines).snakemake("--dry-run")
    assert code != 0
    assert "probes.flow.window: 11 is more than the 10 layers of the model tiny-llava" in text
    (tmp_path / "mine.yaml").write_text("study: a\nstudy: b\n")
    code, text = Importer(tmp_path, *lines).snakemake("--dry-run")
    assert "mine.yaml has 1 mistake(s):\n  study: this key is given twice" in text


def test_rules_of_a_module_can_be_renamed(tmp_path, study):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    importer = Importer(tmp_path, 'configfile: "config.yaml"', MODULE, "use rule * from vlmflow as vlm_*")
    code, text = importer.snakemake("--dry-run")
    assert code == 0, text
    assert count_jobs(text)["vlm_draw_figure"] == len(study["figures"])
