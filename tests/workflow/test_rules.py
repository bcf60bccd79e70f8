"""The rules as Snakemake sees them, without running any: lint, graphs, plans."""

import json
import re
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml
import yte

from support.paths import ROOT
from support.workspace import ASCII, SNAKEMAKE, Workspace
from vlmflow.data import DATASETS, dataset_from
from vlmflow.study import read_study


def test_snakemakes_lint_finds_nothing():
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


RULE = re.compile(
    r"^(?:rule|use rule \w+ as) (?P<name>\w+)(?P<with> with)?:$(?P<body>(?:\n(?:    .*)?)+)", re.MULTILINE
)

WITHOUT_FILES = {"clean_store"}


@pytest.mark.parametrize(
    ("name", "inherits", "body"),
    [
        pytest.param(found["name"], bool(found["with"]), found["body"], id=found["name"])
        for path in sorted((ROOT / "rules").glob("*.smk"))
        for found in RULE.finditer(path.read_text())
    ],
)
def test_every_rule_has_a_log_and_a_benchmark(name, inherits, body):
    """A rule made of another one has its own log and benchmark file, and the rest from there.  A rule that makes no
    file has no benchmark file either: with one, Snakemake would take it for done once that file is there."""
    directives = set(re.findall(r"^    (\w+):", body, re.MULTILINE))
    makes = {"output", "benchmark"}
    assert directives >= {"log"}
    assert directives & makes == (set() if name in WITHOUT_FILES else makes)
    if not inherits:
        assert directives >= {"conda", "threads", "resources", "script"}
        assert {"mem_mb", "runtime"} <= set(re.findall(r"^        (\w+)=", body, re.MULTILINE))
    wildcards = {
        frozenset(re.findall(r"\{(?:\{)?(\w+)\}", re.search(rf"^    {each}:\n(.+)$", body, re.MULTILINE)[1]))
        - {"RESULTS"}
        for each in {"log", "benchmark"} & directives
    }
    assert len(wildcards) == 1


def test_rules_that_download_run_where_snakemake_runs():
    """Compute nodes often have no network.  A rule made of another one does not inherit this."""
    bodies = {
        found["name"]: found["body"]
        for path in (ROOT / "rules").glob("*.smk")
        for found in RULE.finditer(path.read_text())
        if found["name"].startswith(("download", "fetch_"))
    }
    assert len(bodies) >= 5
    assert [name for name, body in bodies.items() if "    localrule: True\n" not in body] == []


def test_every_rule_is_checked():
    found = sum(len(RULE.findall(path.read_text())) for path in (ROOT / "rules").glob("*.smk"))
    lines = [line for path in (ROOT / "rules").glob("*.smk") for line in path.read_text().splitlines()]
    assert found == sum(line.startswith(("rule ", "use rule ")) for line in lines) > 25


def rule_graph(*arguments):
    """Snakemake's own graph of the rules, as pairs of names."""
    command = [*SNAKEMAKE, *arguments, "--rulegraph", "mermaid-js", "--forceall"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", done.stdout)}


def drawn_graph(path):
    """The graph in a page of the documentation."""
    drawn = set()
    for chain in path.read_text().split("```mermaid")[1].split("```")[0].strip().splitlines()[1:]:
        drawn |= set(pairwise(step.strip() for step in chain.split("-->")))
    return drawn


def rules_of(graph):
    return {rule for pair in graph for rule in pair}


def test_the_readmes_graph_is_the_workflows():
    real, drawn = rule_graph(), drawn_graph(ROOT / "README.md")
    assert drawn <= real
    assert rules_of(drawn) | {"all"} == rules_of(real)


def test_the_papers_study_is_drawn_as_it_is():
    real = {
        (rule, needed_by) for rule, needed_by in rule_graph("--configfile", "studies/flow.yaml") if needed_by != "all"
    }
    assert drawn_graph(ROOT / "docs" / "flow.md") == real


@pytest.mark.parametrize("kind", DATASETS, ids=lambda kind: kind.__name__)
def test_what_a_dataset_needs_is_fetched(tmp_path, kind):
    """One job downloads each of its files, and a rule of their own fetches what is gated or drawn."""
    (source,) = kind.model_fields["source"].annotation.__args__
    dataset = dataset_from({"source": source})
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["dataset"] = {"source": source}
    for task in study["tasks"].values():
        task.pop("detailed", None)  # types of GQA
    plan = Workspace(tmp_path).plan(study)
    assert plan.get("download", 0) == len(dataset.downloads())
    assert plan.get("fetch_winoground", 0) == len(dataset.gated())
    assert plan.get("render_scenes", 0) == (source == "synthetic")
    assert plan["fetch_images"] == len(study["tasks"])


def test_one_file_is_downloaded_once_for_all_datasets(tmp_path):
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["dataset"] = {"source": "gqa", "captions": "visual-genome"}
    study["tasks"] |= {
        "Train": {"dataset": {"source": "gqa", "split": "train"}},
        "Again": {"dataset": {"source": "gqa"}},
    }
    assert Workspace(tmp_path).plan(study)["download"] == 5


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.name)
def test_every_study_can_be_planned_without_a_network_whatever_the_locale(study, tmp_path):
    """Nothing is downloaded for a plan: the addresses of proxies lead nowhere."""
    workspace = Workspace(
        tmp_path, sys.executable, http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", **ASCII
    )
    done = workspace.snakemake("--dry-run", study=f"studies/{study.name}")
    assert done.returncode == 0, done.stdout + done.stderr
    plan = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    chosen = yaml.safe_load(study.read_text())
    read = read_study(chosen, study.name)
    shards = {name: model.shards for name, model in read.models.items()}
    probed = {model for probe in read.probes for model in read.models_of(probe)}
    assert int(plan["run_probe"]) == sum(shards[model] for probe in read.probes for model in read.models_of(probe))
    assert int(plan["answer_questions"]) == sum(shards[model] for model in probed)
    assert int(plan["load_model"]) == int(plan["sample_answered"]) == len(probed)
    assert int(plan.get("answer_table", 0)) == sum(shards[read.tables[table].model] for table in read.accuracy_tables)
    assert int(plan.get("fetch_model", 0)) == sum(model.folder is None for model in read.models.values())


@pytest.mark.parametrize("form", ["parquet", "safetensors"])
def test_states_are_exported_where_the_probe_has_that_form(tmp_path, form):
    """Once per model, whatever its shards; the report does not wait for it."""
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study["models"]["tiny-llava"]["shards"] = 3
    study["models"]["other"] = study["models"]["tiny-llava"] | {"shards": 1}
    study["probes"] |= {"s": {"kind": "states", "form": form}, "t": {"kind": "states"}}
    workspace = Workspace(tmp_path)
    assert workspace.plan(study).get("export_states", 0) == (2 if form == "safetensors" else 0)
    done = workspace.snakemake("--dry-run", "results/demo/index.html", study="changed.yaml")
    assert "export_states" not in done.stdout + done.stderr
    assert "write_report" in done.stdout + done.stderr


def test_every_line_of_the_clusters_profile_is_explained():
    text, page = (ROOT / "profiles/slurm/config.yaml").read_text(), (ROOT / "docs/cluster.md").read_text()
    profile = yte.process_yaml(text.replace("  # ", "  "))
    places = profile.pop("default-resources")
    profile.pop("logger", None)
    assert list(places) == re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    del profile["executor"]
    for key, value in profile.items():
        assert f"| `{key}: {json.dumps(value).strip(chr(34))}` |" in page, key
