"""How many questions each model was asked, answered rightly, and is analysed on."""

from vlmflow.jobs.job import logged
from vlmflow.tables import ACCURACY, ANSWERS, SELECTED

with logged(snakemake.log[0]):
    rows = []
    source = snakemake.input
    for answers_path, selected_path, (model, task) in zip(
        source.answers, source.selected, snakemake.params.places, strict=True
    ):
        answers, selected = ANSWERS.read(answers_path), SELECTED.read(selected_path)
        judged = answers["correct"].drop_nulls()
        rows.append(
            {
                "model": model,
                "task": task,
                "asked": len(answers),
                "right": judged.sum() if len(judged) else None,
                "analysed": len(selected),
                "accuracy": judged.mean(),
            }
        )
    ACCURACY.write(rows, snakemake.output.summary)
