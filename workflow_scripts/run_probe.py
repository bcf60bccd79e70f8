"""The rows of one probe on the questions of one shard."""

from pydantic import TypeAdapter

from vlmflow.jobs.job import logged
from vlmflow.jobs.measure import measure_shard, probing
from vlmflow.probes import AnyProbe
from vlmflow.probes.rows import rows_of_tasks
from vlmflow.tables import SKIPPED, Shard, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    params, wildcards = snakemake.params, snakemake.wildcards
    probe = TypeAdapter(AnyProbe).validate_python(params.probe)
    rows, skipped = measure_shard(
        probing(probe, wildcards.probe, wildcards.model, params.model, params.code, params.answers_match),
        rows_of_tasks(probe, dict(snakemake.input.items()), params.tasks, params.seed),
        Shard.parse(wildcards.shard),
        snakemake.output.rows,
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
    )
    probe.table.write(rows, snakemake.output.rows)
    SKIPPED.write(skipped, snakemake.output.skipped)
