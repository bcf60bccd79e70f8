"""A table as Markdown and as LaTeX."""

import polars as pl

from vlmflow.jobs.job import logged
from vlmflow.report.formats import latex, markdown
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    # Words such as "no" and numbers such as "007" stay as they are written.
    table = pl.read_csv(snakemake.input.csv, schema_overrides=dict.fromkeys(("question", "answer"), pl.String))
    for path, write in ((snakemake.output.markdown, markdown), (snakemake.output.latex, latex)):
        with atomic_write(path) as temporary:
            temporary.write_text(write(table), encoding="utf-8")
