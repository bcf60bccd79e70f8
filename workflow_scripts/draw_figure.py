"""One figure of one model: for the screen, for print, and narrow."""

from pydantic import TypeAdapter

from vlmflow.figures import AnyChart, FigureData, Layout
from vlmflow.figures.drawing import draw
from vlmflow.figures.save import save
from vlmflow.jobs.job import logged
from vlmflow.probes import Probe
from vlmflow.tables import LANDMARK_TABLES, PROBE_TABLES, VIEWS

with logged(snakemake.log[0]):
    source, tasks = snakemake.input, snakemake.params.tasks
    figure = TypeAdapter(AnyChart).validate_python(snakemake.params.figure)
    probe = TypeAdapter(Probe).validate_python(snakemake.params.probe)
    rows_table, summary_table = PROBE_TABLES[probe.kind]
    landmarks = [LANDMARK_TABLES[probe.kind].read(path) for path in source.landmarks]
    data = FigureData(
        summary_table.read(source.summary),
        snakemake.wildcards.model,
        tasks,
        curve_features=landmarks[0] if landmarks else None,
        rows={task: rows_table.read(path) for task, path in zip(tasks, source.rows, strict=False)},
        views={task: VIEWS.read(path) for task, path in zip(tasks, source.views, strict=False)},
    )
    for path, columns in zip(snakemake.output, (3, 3, 3, 1), strict=True):
        save(draw(figure, probe, data, Layout(columns, interactive=path.endswith(".html"))), path)
