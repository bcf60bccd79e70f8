"""The page of single questions, and the files in which their details are loaded."""

import shutil
from pathlib import Path

import polars as pl

from vlmflow.claims.opened import open_layers
from vlmflow.jobs.job import logged
from vlmflow.probes import probe_class
from vlmflow.progress import with_progress
from vlmflow.report.explored_rows import curves, means, question_texts
from vlmflow.report.explorer import ExploredModel, explorer_page, script
from vlmflow.tables import ANSWERS, EXPLORED, SELECTED, SKIPPED, read_shards

source, params = snakemake.input, snakemake.params


def paths_of(name: str, model: str) -> list[str]:
    """The files of an input that are the model's."""
    return [path for path, owner in zip(source[name], params.owners[name], strict=True) if owner == model]


def rows_of(name: str, model: str) -> pl.DataFrame | None:
    """The rows of the model's probe; None if it has none."""
    paths = paths_of(name, model)
    return read_shards(probe_class(params.kinds[name]).table, paths) if paths else None


with logged(snakemake.log[0]):
    pages = Path(snakemake.output.folder)
    pages.mkdir(parents=True)
    layers = open_layers(params.models, source.models)
    # Tables have questions of their own, which no probe measures.
    skipped = SKIPPED.read(source.skipped).filter(pl.col("task").is_in(list(params.tasks)))
    answers = {model: read_shards(ANSWERS, paths_of("answers", model)) for model in params.models}
    questions = question_texts(source.questions, params.tasks, [*answers.values(), skipped])
    summary = probe_class(params.kinds["curves"]).summary_table()
    counts = {}
    for number, model in enumerate(with_progress(params.models, "explorer", len(params.models), "models")):
        edges = params.edges.get(model, [])
        explored = ExploredModel(
            name=model,
            layers=layers[model],
            questions=questions,
            answers=answers[model],
            selected=read_shards(SELECTED, paths_of("selected", model)),
            skipped=skipped.filter(pl.col("model").is_null() | (pl.col("model") == model)),
            views=pl.concat([EXPLORED.frame([]), *map(EXPLORED.read, paths_of("views", model))]),
            curves=curves(rows_of("curves", model), edges),
            means=means([summary.read(path) for path in paths_of("summaries", model)], model, edges),
            track=rows_of("track", model),
            attention=rows_of("attention", model),
            words=rows_of("words", model),
        )
        counts[model] = len(explored.listed)
        (pages / f"index-{number}.js").write_text(script("index", explored.index(), number), encoding="ascii")
        for part, content in enumerate(explored.parts()):
            written = script("part", content, number, part)
            (pages / f"part-{number}-{part}.js").write_text(written, encoding="ascii")
    shutil.copyfile(source.libraries, pages / "vega-embed.js")
    (pages / "index.html").write_text(explorer_page(params.study, counts), encoding="utf-8")
