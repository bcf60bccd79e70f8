"""From a dataset's files to the table of questions."""

from vlmflow.data.reading import read_dataset
from vlmflow.jobs.job import logged
from vlmflow.tables import QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    questions, skipped = read_dataset(files=dict(snakemake.input.items()), **snakemake.params.dataset)
    QUESTIONS.write(questions, snakemake.output.questions)
    SKIPPED.write(skipped, snakemake.output.skipped)
    print(f"{len(questions)} questions, {len(skipped)} left out")
