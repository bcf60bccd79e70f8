"""One figure of all models together: interactive, SVG, PNG, SVG and PDF of a printed column, and its rows as CSV."""

from pathlib import Path

from pydantic import TypeAdapter

from vlmflow.claims.opened import open_layers
from vlmflow.figures import AnyChart, Layout
from vlmflow.figures.save import save
from vlmflow.figures.together import draw_together, rows_together
from vlmflow.jobs.job import logged
from vlmflow.probes import AnyProbe
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    figure = TypeAdapter(AnyChart).validate_python(params.figure)
    probe = TypeAdapter(AnyProbe).validate_python(params.probe)
    summary = probe.summary_table().read(source.summary)
    layers = open_layers(params.models, source.models)
    libraries = Path(source.libraries).read_text(encoding="utf-8")
    *drawn, rows = snakemake.output
    for path, columns in zip(drawn, (3, 3, 3, 1, 1), strict=True):
        layout = Layout(columns, interactive=path.endswith(".html"))
        save(draw_together(figure, probe, summary, layers, params.tasks, layout), path, libraries)
    with atomic_write(rows) as temporary:
        rows_together(figure, probe, summary, layers).drop("note", strict=False).write_csv(temporary)
