"""One figure of one model: for the screen, for print, and narrow."""

from pydantic import TypeAdapter

from vlmflow import charts
from vlmflow.jobs import logged
from vlmflow.study import Figure, Probe
from vlmflow.tables import MEASURED

with logged(snakemake.log[0]):
    figure = TypeAdapter(Figure).validate_python(snakemake.params.figure)
    probe = TypeAdapter(Probe).validate_python(snakemake.params.probe)
    summary = MEASURED[probe.kind].summary.read(snakemake.input.summary)
    for path, panels in zip(snakemake.output, (3, 3, 3, 1), strict=True):
        chart = charts.draw(summary, figure, snakemake.wildcards.model, snakemake.params.tasks, panels)
        charts.save(chart, path)
