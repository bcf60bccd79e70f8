"""The table of questions, read from a dataset's files."""

from vlmflow.data import dataset_from
from vlmflow.jobs.job import logged
from vlmflow.tables import QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    files = dict(snakemake.input.items())
    questions, skipped = dataset_from(snakemake.params.dataset).read(files)
    QUESTIONS.write(questions, snakemake.output.questions)
    SKIPPED.write(skipped, snakemake.output.skipped)
    print(f"{len(questions)} questions, {len(skipped)} left out")
