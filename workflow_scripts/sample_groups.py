"""The questions of a whole dataset, with a maximum number per structural and semantic group."""

from vlmflow.data.sampling import sample_groups
from vlmflow.jobs.job import logged
from vlmflow.tables import CANDIDATES, QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    questions, params = QUESTIONS.read(snakemake.input.questions), snakemake.params
    candidates, skipped = sample_groups(questions, snakemake.wildcards.table, params.per_group, params.seed)
    CANDIDATES.write(candidates, snakemake.output.candidates)
    SKIPPED.write(skipped, snakemake.output.skipped)
