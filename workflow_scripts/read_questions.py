"""From a dataset's files to the table of questions."""

from pathlib import Path

from vlmflow.datasets.gqa import read_questions
from vlmflow.datasets.gqa_paper import read_paper_questions
from vlmflow.jobs import logged
from vlmflow.tables import QUESTIONS, SKIPPED

with logged(snakemake.log[0]):
    source = snakemake.input
    if snakemake.params.source == "gqa-paper":
        questions, skipped = read_paper_questions([Path(file) for file in source])
    else:
        questions, skipped = read_questions(Path(source.questions), Path(source.scene_graphs))
    QUESTIONS.write(questions, snakemake.output.questions)
    SKIPPED.write(skipped, snakemake.output.skipped)
    print(f"{len(questions)} questions, {len(skipped)} malformed entries")
