"""One figure of one model: for the screen, for print, and narrow."""

from pydantic import TypeAdapter

from vlmflow import charts
from vlmflow.jobs import logged
from vlmflow.study import Figure, Probe
from vlmflow.tables import PROBE_TABLES

with logged(snakemake.log[0]):
    figure = TypeAdapter(Figure).validate_python(snakemake.params.figure)
    probe = TypeAdapter(Probe).validate_python(snakemake.params.probe)
    summary = PROBE_TABLES[probe.kind][1].read(snakemake.input.summary)
    for path, columns in zip(snakemake.output, (3, 3, 3, 1), strict=True):
        interactive = path.endswith(".html")
        chart = charts.draw(
            summary, figure, probe, snakemake.wildcards.model, snakemake.params.tasks, columns, interactive
        )
        charts.save(chart, path)
