"""Phases or knees of every model, task and prompt, as a CSV file and a page."""

from vlmflow.figures import curve_feature_rows
from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.report.tables import curve_features_page
from vlmflow.tables import atomic_write

with logged(snakemake.log[0]):
    kind = snakemake.params.kind
    rows = curve_feature_rows(kind, probe_class(kind).features.table.read(snakemake.input.curve_features))
    with atomic_write(snakemake.output.csv) as temporary:
        rows.write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        title = snakemake.params.title or snakemake.wildcards.table
        temporary.write_text(curve_features_page(rows, title), encoding="utf-8")
