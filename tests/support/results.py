"""What a run leaves in the folder of its results."""

from types import SimpleNamespace

import polars as pl
import yaml

from support.paths import ROOT
from support.workspace import Workspace
from vlmflow.claims.judge import CLAIMS
from vlmflow.probes import probe_class
from vlmflow.study import read_study
from vlmflow.tables import read_shards


def summary_of(results, study, probe):
    return probe_class(study.probes[probe].kind).summary_table().read(results / "summary" / f"{probe}.parquet")


def rows_of(table, folder, task=None):
    """The rows of all shards of a step, whose files are in the folder; those of one task if it is named."""
    paths = [path for path in folder.glob("*.parquet") if not path.name.endswith(".skipped.parquet")]
    assert paths, folder
    rows = read_shards(table, paths)
    return rows if task is None else rows.filter(task=task)


def assert_complete(workspace, study):
    """Every figure of every model that it is drawn for is there, and there is nothing left to do."""
    results = workspace.folder / "results" / study.study
    for name, figure in study.figures.items():
        for model in study.models_of(figure.probe):
            for ending in (".html", ".svg", ".png", "-narrow.svg", ".pdf", ".csv"):
                assert (results / "figures" / name / f"{model}{ending}").stat().st_size > (
                    1000 if ending != ".csv" else 20
                ), name
    if study.claims:
        judged = CLAIMS.read(results / "summary" / "claims.parquet")
        assert set(judged["claim"]) == set(study.claims)
        # A sum of others, whose test is empty, needs no reason of its own.
        idle = judged.filter(pl.col("verdict") == "does not apply", pl.col("test") != "")
        silent = idle.group_by("claim", "model", "second_model", "scope").agg(pl.col("reason").is_null().all())
        assert silent.filter("reason").is_empty(), silent
    page = (results / "index.html").read_text()
    single = sum(len(study.models_of(figure.probe)) for figure in study.figures.values())
    together = len(list((results / "figures").glob("*.pdf"))) + len(list(results.glob("flow.pdf")))
    assert page.count("<figure ") == single + together
    again = workspace.snakemake("--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    return results, page


def run_study(folder, file, questions):
    """A study of the repository, run in a copy of it: its content, the study, workspace, results and report's page.

    Args:
        folder: of the copy.
        file: in `studies/`.
        questions: probe → number of questions on which it is measured, for those that take long.
    """
    content = yaml.safe_load((ROOT / "studies" / file).read_text())
    for probe, number in questions.items():
        content["probes"][probe]["questions"] = number
    workspace = Workspace(folder)
    workspace.write(content)
    done = workspace.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    study = read_study(content, file)
    results, page = assert_complete(workspace, study)
    return SimpleNamespace(content=content, study=study, workspace=workspace, results=results, page=page)
