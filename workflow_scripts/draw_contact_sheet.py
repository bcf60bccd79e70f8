"""Pictures as the model sees them, with patch grid, boxes and related patches, to check by eye."""

from vlmflow.hub import location
from vlmflow.jobs import logged
from vlmflow.processors import load_processor
from vlmflow.sheets import contact_sheet
from vlmflow.tables import PATCHES, TASK, whole

with logged(snakemake.log[0]):
    model = snakemake.params.model
    processor = load_processor(location(model["path"], model["fetched"]), template=model["template"], fit=model["fit"])
    questions = TASK.read(snakemake.input.questions)
    patches = PATCHES.read(snakemake.input.patches)
    title = f"{snakemake.wildcards.model}, {snakemake.wildcards.task}"
    sheet = contact_sheet(processor, questions.join(patches, on="question_id", maintain_order="left"), title)
    with whole(snakemake.output.sheet) as temporary:
        sheet.save(temporary)
