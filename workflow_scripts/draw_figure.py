"""One figure of one model: interactive, SVG, PNG, SVG and PDF of a printed column, and its rows as CSV."""

from pathlib import Path

import polars as pl
from pydantic import TypeAdapter

from vlmflow.figures import AnyChart, FigureData, Layout
from vlmflow.figures.drawing import draw
from vlmflow.figures.save import save
from vlmflow.jobs.job import logged
from vlmflow.probes import AnyProbe
from vlmflow.tables import VIEWS, atomic_write, read_shards


def by_task(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Task → its rows, for the tasks of the figure, if the figure shows single questions."""
    return {task: rows.filter(pl.col("task") == task) for task in tasks} if source.views else {}


with logged(snakemake.log[0]):
    source, tasks = snakemake.input, snakemake.params.tasks
    figure = TypeAdapter(AnyChart).validate_python(snakemake.params.figure)
    probe = TypeAdapter(AnyProbe).validate_python(snakemake.params.probe)
    features = [probe.features.table.read(path) for path in source.curve_features]
    data = FigureData(
        probe.summary_table().read(source.summary),
        snakemake.wildcards.model,
        tasks,
        curve_features=features[0] if features else None,
        rows=by_task(read_shards(probe.table, source.rows)),
        views=by_task(VIEWS.read(source.views[0])) if source.views else {},
    )
    libraries = Path(source.libraries).read_text(encoding="utf-8")
    *drawn, rows = snakemake.output
    for path, columns in zip(drawn, (3, 3, 3, 1, 1), strict=True):
        save(draw(figure, probe, data, Layout(columns, interactive=path.endswith(".html"))), path, libraries)
    with atomic_write(rows) as temporary:
        figure.data_rows(probe, data).write_csv(temporary)
