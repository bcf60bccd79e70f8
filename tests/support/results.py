"""What a run leaves in the folder of its results."""

from vlmflow.probes import probe_class


def summary_of(results, study, probe):
    return probe_class(study.probes[probe].kind).summary_table().read(results / "summary" / f"{probe}.parquet")


def assert_complete(workspace, study):
    """Every figure of every model that it is drawn for is there, and there is nothing left to do."""
    results = workspace.folder / "results" / study.study
    for name, figure in study.figures.items():
        for model in study.models_of(figure.probe):
            for ending in (".html", ".svg", ".png", "-narrow.svg"):
                assert (results / "figures" / name / f"{model}{ending}").stat().st_size > 1000, name
    page = (results / "index.html").read_text()
    assert page.count("<figure") == sum(len(study.models_of(figure.probe)) for figure in study.figures.values())
    again = workspace.snakemake("--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    return results, page
