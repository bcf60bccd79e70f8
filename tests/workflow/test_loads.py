"""How often a study loads its models: once to see that it works, and once per step and shard."""

import re

import pytest
import yaml

from support.paths import ROOT
from support.workspace import Workspace
from vlmflow.study import Study

LOADING = ("load_model", "answer_questions", "answer_table", "run_probe")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("loads"))


@pytest.mark.parametrize("name", ["flow", "flow-appendix", "phase", "thesis"])
def test_a_model_is_loaded_once_per_step_and_shard(workspace, name):
    study = Study.model_validate(yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text()))
    probes = [model for probe in study.probes for model in study.models_of(probe)]
    tables = [table.model for table in study.accuracy_tables.values()]
    expected = len(study.models) + sum(study.models[model].shards for model in [*study.models, *probes, *tables])
    done = workspace.snakemake("--dry-run", study=f"studies/{name}.yaml")
    planned = re.findall(rf"^({'|'.join(LOADING)}) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    assert sum(int(count) for _, count in dict(planned).items()) == expected


def test_shards_divide_each_step_of_their_model(workspace):
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["models"]["tiny-llava"]["shards"] = 5
    plan = workspace.plan(study)
    assert [plan[rule] for rule in ("load_model", "answer_questions", "run_probe")] == [1, 5, 10]
