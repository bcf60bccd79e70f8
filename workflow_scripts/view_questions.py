"""The images of the questions that the page of single questions shows, as the model receives them."""

from vlmflow.data.sampling import explored_questions
from vlmflow.jobs.job import for_each_question, logged
from vlmflow.jobs.patch_maps import open_patch_maps
from vlmflow.probes.rows import read_questions
from vlmflow.prompts.explored_view import explored_view
from vlmflow.tables import ANSWERS, EXPLORED, PATCHES, SELECTED, read_shards

with logged(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    answers, selected = read_shards(ANSWERS, source.answers), read_shards(SELECTED, [source.selected])
    shown = explored_questions(answers, selected, params.per_task)
    ask = {"on": ["task", "question_id"], "maintain_order": "left"}
    patches = read_shards(PATCHES, source.patches).select("task", "question_id", "related")
    questions = read_questions(source.questions, params.tasks).join(shown, how="semi", **ask)
    questions = questions.join(patches, how="left", **ask)
    with open_patch_maps(params.model, snakemake.output.views) as patch_maps:
        rows, _ = for_each_question(
            questions,
            lambda row: explored_view(patch_maps, row),
            stage="explorer",
            model=snakemake.wildcards.model,
            share=True,
        )
    EXPLORED.write(rows, snakemake.output.views)
