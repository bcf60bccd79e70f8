"""What is found on the curves of one probe, for each model and task: phases, or knees."""

import polars as pl

from vlmflow.analysis.curve_features import find_landmarks
from vlmflow.jobs.job import logged
from vlmflow.progress import shown
from vlmflow.tables import LANDMARK_TABLES, PROBE_TABLES

with logged(snakemake.log[0]):
    kind, places = snakemake.params.kind, snakemake.params.places
    table = LANDMARK_TABLES[kind]
    parts = [
        find_landmarks(kind, PROBE_TABLES[kind][0].read(path), model, task)
        for path, (model, task) in shown(
            zip(snakemake.input.rows, places, strict=True), snakemake.wildcards.probe, len(places), "curves"
        )
    ]
    table.write(pl.concat([table.frame([]), *parts]), snakemake.output.landmarks)
