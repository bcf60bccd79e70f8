"""What the model says to each question, and whether that is right."""

import torch

from vlmflow.inference import answer_question
from vlmflow.jobs import for_each_question, logged
from vlmflow.models import load_model
from vlmflow.tables import ANSWERS, PATCHES, SKIPPED, TASK

with logged(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    model = snakemake.params.model
    vlm = load_model(model["path"], revision=model["revision"], dtype=model["dtype"], device=model["device"])
    patches = PATCHES.read(snakemake.input.patches)
    rows, skipped = for_each_question(
        TASK.read(snakemake.input.questions).join(patches, on="question_id", how="left", maintain_order="left"),
        lambda row: answer_question(vlm, row, model["instruction"]),
        stage="answers",
        task=snakemake.wildcards.task,
        model=snakemake.wildcards.model,
    )
    ANSWERS.write(rows, snakemake.output.answers)
    SKIPPED.write(skipped, snakemake.output.skipped)
