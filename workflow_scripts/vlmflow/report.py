"""The study's report: one HTML page that holds its figures and opens without a network."""

import base64
from pathlib import Path
from typing import Any

import polars as pl

from .charts import caption
from .edges import Edge
from .pages import ENVIRONMENT, signed
from .study import Figure, FlowChart, Study
from .tabulate import in_report
from .tasks import in_task

NOTHING = 1.0  # percent: less than this is told as nothing


def render(
    study: Study,
    *,
    questions: pl.DataFrame,
    accuracy: pl.DataFrame,
    skipped: pl.DataFrame,
    summaries: dict[str, pl.DataFrame],
    tables: dict[str, pl.DataFrame],
    figures: Path,
) -> str:
    """The page as HTML; every text that comes from data is escaped."""
    return ENVIRONMENT.get_template("report.html").render(
        study=study,
        total=len(questions),
        pictures=questions["image_id"].n_unique(),
        examples=_examples(study, questions),
        accuracy=accuracy.to_dicts(),
        tabulated=[in_report(name, study.tables[name], written) for name, written in tables.items()],
        figures=[
            {
                "name": name,
                "number": number,
                "title": figure.title or name,
                "caption": caption(figure, study.probes[figure.probe]),
                "models": [_drawn(figures / name, name, model) for model in study.models],
                "sentences": [_sentence(figure, summaries[figure.probe], model) for model in study.models],
                "findings": _findings(figure, summaries[figure.probe]),
            }
            for number, (name, figure) in enumerate(study.figures.items(), 1)
        ],
        skipped=_reasons(skipped),
        total_skipped=len(skipped),
    )


def _examples(study: Study, questions: pl.DataFrame) -> list[dict[str, Any]]:
    """A question of each task, with how many there are."""
    rows = []
    for name, task in study.tasks.items():
        found = questions.filter(in_task(task))
        example = found.row(0, named=True) if len(found) else {"question": "–", "answer": "–"}
        rows.append({"task": name, "count": len(found), "question": example["question"], "answer": example["answer"]})
    return rows


def _drawn(folder: Path, figure: str, model: str) -> dict[str, str]:
    return {
        "model": model,
        "link": f"figures/{figure}/{model}",
        "wide": _data_uri(folder / f"{model}.svg"),
        "narrow": _data_uri(folder / f"{model}-narrow.svg"),
    }


def _data_uri(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _sentence(figure: Figure, summary: pl.DataFrame, model: str) -> str:
    """The figure in words: what its numbers say, and no more."""
    rows = summary.filter(pl.col("model") == model)
    if len(rows) == 0:
        return f"{model}: no question was left to analyse."
    return f"{model}: " + (_flow_words(figure, rows) if isinstance(figure, FlowChart) else _lens_words(rows))


def _flow_words(figure: FlowChart, rows: pl.DataFrame) -> str:
    parts = []
    for edge in figure.edges:
        peaks = rows.filter(pl.col("edge") == edge).sort("mean").group_by("task", maintain_order=True).first()
        if len(peaks) == 0:
            parts.append(f"{Edge.parse(edge).crossed} could be measured on no question.")
            continue
        silent = peaks.filter(pl.col("mean") > -NOTHING)
        name, worst = Edge.parse(edge).crossed, peaks.row(0, named=True)
        if len(silent) == len(peaks):
            parts.append(f"{name} costs less than {NOTHING:g} % of the answer's probability in every task and layer.")
            continue
        text = (
            f"{name} costs most in {worst['task']}, {signed(worst['mean'])} % [{signed(worst['low'])}, "
            f"{signed(worst['high'])}] around layer {worst['layer']}"
        )
        if len(silent):
            text += f", and less than {NOTHING:g} % anywhere in {', '.join(sorted(silent['task']))}"
        parts.append(text + ".")
    return " ".join(parts)


def _lens_words(rows: pl.DataFrame) -> str:
    words = rows.pivot(on="word", index=["task", "layer"], values="mean")
    best = words.sort("lowercase answer", descending=True).row(0, named=True)
    text = (
        f"the lowercase answer is most readable in {best['task']}, {best['lowercase answer']:.2f} after layer "
        f"{best['layer']}."
    )
    # The first layer from which on, to the last one, the capital is ahead; none where it is not ahead at the end.
    ahead = (
        words.sort("layer")
        .group_by("task")
        .agg(pl.col("layer"), pl.col("capitalised answer") > pl.col("lowercase answer"))
    )
    starts = []
    for _, layers, leads in ahead.iter_rows():
        behind = [layer for layer, leading in zip(layers, leads, strict=True) if not leading]
        if leads[-1]:
            starts.append(max(behind) + 1 if behind else layers[0])
    if starts:
        first, last = min(starts), max(starts)
        span = f"layer {first}" if first == last else f"layers {first} to {last}, by task"
        text += f" The capitalised answer is ahead for good from {span}."
    return text


def _findings(figure: Figure, summary: pl.DataFrame) -> dict[str, Any]:
    """The largest effect of each line in each task: where it is, how large, and its interval."""
    if isinstance(figure, FlowChart):
        lines, column, extreme = list(figure.edges), "edge", pl.col("mean").arg_min()
    else:
        lines, column, extreme = summary["word"].unique(maintain_order=True).to_list(), "word", pl.col("mean").arg_max()
    peaks = (
        summary.filter(pl.col(column).is_in(lines))
        .group_by("model", "task", column, maintain_order=True)
        .agg(pl.all().get(extreme))
    )
    rows = []
    for (model, task), group in peaks.group_by("model", "task", maintain_order=True):
        cells = {row[column]: row for row in group.to_dicts()}
        rows.append({"model": model, "task": task, "cells": [cells.get(line) for line in lines]})
    flow = isinstance(figure, FlowChart)
    return {
        "flow": flow,
        "lines": [Edge.parse(line).crossed if flow else line for line in lines],
        "rows": rows,
    }


def _reasons(skipped: pl.DataFrame) -> list[dict[str, Any]]:
    """Reasons with their number of questions; those that differ in numbers or names only are one, with an example."""
    return (
        skipped.with_columns(kind=pl.col("reason").str.replace_all(r"[\d.,]+|\S*/\S*|'[^']*'", "…"))
        .group_by("stage", "model", "task", "kind", maintain_order=True)
        .agg(reason=pl.col("reason").first(), count=pl.len())
        .to_dicts()
    )
