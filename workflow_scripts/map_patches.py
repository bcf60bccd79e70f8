"""The patches that the boxes of each question overlap, and a contact sheet on which to check them by eye."""

from vlmflow.jobs.job import for_each_question, logged
from vlmflow.models.hub import model_folder
from vlmflow.models.processor import load_processor
from vlmflow.prompts.contact_sheet import contact_sheet
from vlmflow.prompts.patch_row import patch_row
from vlmflow.tables import PATCHES, SKIPPED, TASK, atomic_write, check_writable

with logged(snakemake.log[0]):
    check_writable(snakemake.output)
    settings, wildcards = snakemake.params.model, snakemake.wildcards
    processor = load_processor(
        model_folder(settings["path"], settings["fetched"]), template=settings["template"], fit=settings["fit"]
    )
    questions = TASK.read(snakemake.input.questions)
    rows, skipped = for_each_question(
        questions,
        lambda row: patch_row(processor, row, snakemake.params.rule),
        stage="patches",
        task=wildcards.task,
        model=wildcards.model,
    )
    PATCHES.write(rows, snakemake.output.patches)
    SKIPPED.write(skipped, snakemake.output.skipped)
    mapped = questions.join(PATCHES.frame(rows), on="question_id", maintain_order="left")
    with atomic_write(snakemake.output.sheet) as temporary:
        contact_sheet(processor, mapped, f"{wildcards.model}, {wildcards.task}").save(temporary)
