"""The numbers of questions that each model was asked, answered correctly, and is analysed on."""

from vlmflow.analysis.answer_counts import count_answers
from vlmflow.jobs.job import logged
from vlmflow.tables import ACCURACY, ANSWERS, SELECTED

with logged(snakemake.log[0]):
    source, model_tasks = snakemake.input, snakemake.params.model_tasks
    rows = [
        count_answers(ANSWERS.read(answers), SELECTED.read(selected), model=model, task=task)
        for answers, selected, (model, task) in zip(source.answers, source.selected, model_tasks, strict=True)
    ]
    ACCURACY.write(rows, snakemake.output.summary)
