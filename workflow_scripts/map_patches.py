"""The patches that the boxes of each question overlap, and contact sheets on which to check them by eye."""

from pathlib import Path

import polars as pl

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.patch_maps import open_patch_maps
from vlmflow.probes.rows import read_questions
from vlmflow.prompts.contact_sheet import contact_sheet
from vlmflow.prompts.patch_row import patch_row
from vlmflow.tables import PATCHES, SKIPPED, atomic_write, check_writable

with logged(snakemake.log[0]):
    output = snakemake.output
    check_writable([output.patches, output.skipped])
    settings, params = snakemake.params.model, snakemake.params
    questions = read_questions(snakemake.input.questions, params.tasks)
    model = snakemake.wildcards.model
    with open_patch_maps(settings, output.patches) as patch_maps:
        rows, skipped = for_each_question(
            questions, lambda row: patch_row(patch_maps, row, params.rule), stage="patches", model=model
        )
        patches = PATCHES.frame(rows)
        PATCHES.write(patches, output.patches)
        SKIPPED.write(skipped, output.skipped)
        mapped = questions.join(patches, on=["task", "question_id"], maintain_order="left")
        for path in output.sheets:
            task = Path(path).stem
            with atomic_write(path) as temporary:
                contact_sheet(patch_maps, mapped.filter(pl.col("task") == task), f"{model}, {task}").save(temporary)
