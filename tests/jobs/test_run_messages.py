"""What is said at the end of a run."""

import re
import sys
from types import SimpleNamespace

import yaml

from support.paths import ROOT
from support.workspace import Workspace
from vlmflow.jobs.run_messages import report_message


def test_the_end_of_a_run_names_failed_jobs_and_how_to_go_on(tmp_path):
    """The real workflow: a model that cannot be loaded; what does not need it is done and kept."""
    workspace = Workspace(tmp_path, sys.executable, PYTHONPATH=str(ROOT / "workflow_scripts"))
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study |= {"study": "small", "dataset": {"source": "synthetic", "images": 5}, "figures": {}}
    study["tasks"] = {"QueryAttr": study["tasks"]["QueryAttr"]}
    workspace.write(study)
    weights = tmp_path / "resources/tiny-llava/model.safetensors"
    weights.write_bytes(b"no weights")
    done = workspace.snakemake()
    assert done.returncode == 1
    assert "Failed, with the log of each job:\n" in done.stderr
    assert "    load_model tiny-llava: results/small/logs/load_model/tiny-llava.log" in done.stderr
    assert re.search(r"\d+ of \d+ jobs are done and kept; to go on, correct the causes and run", done.stderr)
    # By the overview, which the profile switches on, and which knows the plan.
    (said,) = [line for line in done.stderr.splitlines() if " jobs: " in line]
    assert "1 failed" in said, said
    assert "held up by them" in said, said


def test_the_report_is_named_if_it_was_requested(tmp_path):
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=name)) for name in ("all", "write_report")]
    page = tmp_path / "index.html"
    assert report_message(jobs, page) == ""
    page.write_text("")
    assert report_message(jobs, page) == f"The report is {page}; a double click opens it, also offline."
    assert report_message(jobs[:1], page) == ""
