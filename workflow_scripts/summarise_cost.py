"""Time and memory of the answers, probes and tables of each model, from their benchmark files."""

from pathlib import Path

from vlmflow.jobs.job import logged
from vlmflow.report.cost import Job, cost_rows
from vlmflow.tables import COST

with logged(snakemake.log[0]):
    jobs = [Job(model, step, Path(benchmark), Path(log)) for model, step, benchmark, log in snakemake.params.jobs]
    COST.write(cost_rows(jobs), snakemake.output.summary)
