"""The study's report: one HTML page that holds its figures and opens without a network."""

import base64
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from .charts import caption
from .edges import Edge
from .study import FlowChart, Study

ENVIRONMENT = Environment(
    loader=PackageLoader("vlmflow"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def render(
    study: Study,
    *,
    questions: pl.DataFrame,
    accuracy: pl.DataFrame,
    skipped: pl.DataFrame,
    summaries: dict[str, pl.DataFrame],
    figures: Path,
) -> str:
    """The page as HTML; every text that comes from data is escaped."""
    return ENVIRONMENT.get_template("report.html").render(
        study=study,
        total=len(questions),
        pictures=questions["image_id"].n_unique(),
        examples=_examples(study, questions),
        accuracy=accuracy.to_dicts(),
        figures=[
            {
                "name": name,
                "number": number,
                "title": figure.title or name,
                "caption": caption(figure, study.probes[figure.probe]),
                "models": [_drawn(figures / name, name, model) for model in study.models],
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
        wanted = (pl.col("structural") == task.structural) & (pl.col("semantic") == task.semantic)
        if task.detailed is not None:
            wanted &= pl.col("detailed").is_in(task.detailed)
        found = questions.filter(wanted)
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


def _findings(figure: Any, summary: pl.DataFrame) -> dict[str, Any]:
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
    """Reasons with their number of questions; what stands in digits or paths is one reason with an example."""
    return (
        skipped.with_columns(kind=pl.col("reason").str.replace_all(r"[\d.,]+", "…"))
        .group_by("stage", "model", "task", "kind", maintain_order=True)
        .agg(reason=pl.col("reason").first(), count=pl.len())
        .to_dicts()
    )
