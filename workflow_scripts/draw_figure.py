"""One figure of one model: for the screen, for print, and narrow."""

from pydantic import TypeAdapter

from vlmflow import figures
from vlmflow.jobs.job import logged
from vlmflow.probes import AnyProbe
from vlmflow.study import Figure
from vlmflow.tables import VIEWS

with logged(snakemake.log[0]):
    source, tasks = snakemake.input, snakemake.params.tasks
    figure = TypeAdapter(Figure).validate_python(snakemake.params.figure)
    probe = TypeAdapter(AnyProbe).validate_python(snakemake.params.probe)
    summary = probe.summary_table().read(source.summary)
    landmarks = [probe.features.table.read(path) for path in source.landmarks]
    more = figures.More(
        landmarks=landmarks[0] if landmarks else None,
        rows={task: probe.table.read(path) for task, path in zip(tasks, source.rows, strict=False)},
        views={task: VIEWS.read(path) for task, path in zip(tasks, source.views, strict=False)},
    )
    for path, columns in zip(snakemake.output, (3, 3, 3, 1), strict=True):
        interactive = path.endswith(".html")
        chart = figures.draw(summary, figure, probe, snakemake.wildcards.model, tasks, columns, interactive, more)
        figures.save(chart, path)
