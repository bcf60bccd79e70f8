# What figures are drawn from besides the summary of their probe, and how tables are shown.
from vlmflow.study import ExamplesChart, LandmarksTable
from vlmflow.tables import LANDMARK_TABLES as KINDS_WITH_LANDMARKS

LANDMARK_TABLES = [name for name, table in study.tables.items() if isinstance(table, LandmarksTable)]
# The tables of which something can be shown.
NO_TABLES = [each["table"] for each in LEFT_OUT if "table" in each]
SHOWN_TABLES = [name for name in study.tables if name not in NO_TABLES]
TASKS_TABLES = [name for name in study.tables if name not in {*study.accuracy_tables, *LANDMARK_TABLES}]


# How every table is shown by `snakemake --report report.html`.
TABLE_PAGE = report(
    f"{RESULTS}/tables/{{table}}.html",
    caption="../workflow_scripts/captions/table.rst",
    category="Tables",
    labels={"table": "{table}"},
)

# Probes on whose curves something is to be found.
LANDMARK_PROBES = [name for name, probe in study.probes.items() if probe.kind in KINDS_WITH_LANDMARKS]


def probe_of(wildcards):
    """The probe of a figure."""
    return study.figures[wildcards.figure].probe


def landmarks_of_figure(wildcards):
    """Phases or knees, where the figure shows them."""
    figure = study.figures[wildcards.figure]
    shown = getattr(figure, "phases", figure.chart == "budget")
    return [f"{RESULTS}/summary/{figure.probe}.landmarks.parquet"] if shown else []


def example_files(wildcards, pattern):
    """A file for each task, of a figure that shows examples."""
    figure = study.figures[wildcards.figure]
    if not isinstance(figure, ExamplesChart):
        return []
    names = {"model": wildcards.model, "probe": figure.probe, "figure": wildcards.figure}
    return expand(f"{RESULTS}/{pattern}", task=tasks_of_figure(wildcards), **names)
