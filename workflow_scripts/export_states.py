"""The states that a probe measured with one model, as safetensors, and the index of their rows."""

from vlmflow.jobs.job import logged
from vlmflow.probes.states.export import export_states
from vlmflow.tables import check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    export_states(snakemake.input.rows, snakemake.output.states, snakemake.output.index)
