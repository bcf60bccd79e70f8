"""The number, the types and an example of the questions of each task."""

from vlmflow.jobs.job import logged
from vlmflow.report.tables import task_row, tasks_page, without_images
from vlmflow.tables import SELECTED, TASK, atomic_write

with logged(snakemake.log[0]):
    source, tasks = snakemake.input, snakemake.params.tasks
    rows = []
    for number, (task, path) in enumerate(zip(tasks, source.tasks, strict=True)):
        questions = TASK.read(path)
        if source.chosen:
            questions = questions.join(SELECTED.read(source.chosen[number]), on="question_id", how="semi")
        rows.append(task_row(task, questions))
    title = snakemake.params.title or snakemake.wildcards.table
    with atomic_write(snakemake.output.csv) as temporary:
        without_images(rows).write_csv(temporary)
    with atomic_write(snakemake.output.html) as temporary:
        temporary.write_text(tasks_page(rows, title), encoding="utf-8")
