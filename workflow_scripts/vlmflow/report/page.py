"""The study's report: one HTML page that holds its figures and opens without a network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.claims.table import verdict_rows
from vlmflow.data.answers import is_correct
from vlmflow.data.sampling import in_task, sampling_order
from vlmflow.figures import Chart
from vlmflow.study import Study, StudyTable
from vlmflow.tables import full_reason

from .cost import in_report
from .tables import claims_shown
from .template_environment import ENVIRONMENT

WRONG = 3  # wrong answers that are shown per model and task, if most answers are wrong
# Bytes of an SVG file above which the page holds the PNG instead: a heat map has a shape for every cell.
LARGE = 1_500_000


def render(
    study: Study,
    *,
    questions: pl.DataFrame,
    task_questions: dict[str, pl.DataFrame],
    accuracy: pl.DataFrame,
    answers: dict[tuple[str, str], pl.DataFrame],
    skipped: pl.DataFrame,
    cost: pl.DataFrame,
    summaries: dict[str, pl.DataFrame],
    curve_features: dict[str, pl.DataFrame],
    tables: dict[str, pl.DataFrame],
    figures: Path,
    drawn: Mapping[str, list[str]],
    left_out: Sequence[dict[str, str]] = (),
    claims: pl.DataFrame | None = None,
) -> str:
    """The page as HTML; every text from data is escaped.

    Args:
        study: as the study file has it.
        questions: the questions of the study's dataset.
        task_questions: task → its questions, for tasks with a dataset of their own.
        answers: (model, task) → the answers.
        accuracy, skipped, cost, summaries, curve_features, tables: the tables of results, by their names in the study.
        figures: the folder of all figures.
        drawn: figure → the models for which it is drawn.
        left_out: the measurements that failed, with the reasons; see `jobs.second_run`.
        claims: rows of the table `claims`; None if the study has none.
    """
    all_questions = pl.concat([questions, *task_questions.values()])
    return ENVIRONMENT.get_template("report.html").render(
        study=study,
        total=len(all_questions),
        images=all_questions["image_id"].n_unique(),
        examples=_examples(study, questions, task_questions),
        types=_types(all_questions),
        accuracy=accuracy.to_dicts(),
        mostly_wrong=_mostly_wrong(answers, questions, task_questions),
        tabulated=[_table(name, study.tables[name], written) for name, written in tables.items()],
        figures=[
            _figure(number, name, study, summaries, curve_features, figures, drawn[name])
            for number, name in enumerate(study.figures, 1)
        ],
        claims=None if claims is None else claims_shown(verdict_rows(claims)),
        skipped=_reasons(skipped),
        total_skipped=len(skipped),
        cost=in_report(cost),
        failures=_failures(left_out),
    )


def _table(name: str, table: StudyTable, written: pl.DataFrame) -> dict[str, Any]:
    """The values of a table for the template.

    Args:
        name: in the study file.
        table: as the study file has it.
        written: the rows of its CSV file.
    """
    return {
        "name": name,
        "title": table.title or name,
        "note": table.note,
        "macro": table.macro,
        "shown": table.shown(written),
    }


def _figure(
    number: int,
    name: str,
    study: Study,
    summaries: dict[str, pl.DataFrame],
    curve_features: dict[str, pl.DataFrame],
    folder: Path,
    models: Sequence[str],
) -> dict[str, Any]:
    """The values of a figure for the template.

    Args:
        number: of the figure, from 1.
        name: in the study file.
        study: as the study file has it.
        summaries, curve_features: tables of results, by the names of the probes.
        folder: the folder of all figures.
        models: those for which it is drawn.
    """
    figure: Chart = study.figures[name]
    probe, summary = study.probes[figure.probe], summaries[figure.probe]
    sentences = [figure.sentence(probe, summary, model, curve_features.get(figure.probe)) for model in models]
    return {
        "name": name,
        "number": number,
        "title": figure.title or name,
        "caption": figure.caption(probe),
        "models": [_drawn(folder / name, name, model) for model in models],
        "sentences": [sentence for sentence in sentences if sentence],
        "effects": figure.effects(probe, summary),
    }


def _failures(left_out: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The failed measurements of each model, with the reason; measurements with the same reason share a row."""
    measurements: dict[tuple[str, str], list[str]] = {}
    for each in left_out:
        name = each.get("table") or each.get("probe", "all")
        measurements.setdefault((each["model"], each["why"]), []).append(name)
    return [{"model": model, "why": why, "what": "; ".join(names)} for (model, why), names in measurements.items()]


def _examples(study: Study, questions: pl.DataFrame, own: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """An example of each task, with the number of its questions."""
    rows = []
    for name, task in study.tasks.items():
        in_this_task = own.get(name, questions).filter(in_task(task))
        example = in_this_task.row(0, named=True) if len(in_this_task) else {"question": "–", "answer": "–"}
        rows.append(
            {"task": name, "count": len(in_this_task), "question": example["question"], "answer": example["answer"]}
        )
    return rows


def _mostly_wrong(
    answers: dict[tuple[str, str], pl.DataFrame], questions: pl.DataFrame, own: dict[str, pl.DataFrame]
) -> list[dict[str, Any]]:
    """The models and tasks with more than half of their answers wrong, with the same few wrong answers every time."""
    entries = []
    for (model, task), given in answers.items():
        wrong = given.filter(~pl.col("correct"))
        if 2 * len(wrong) <= len(given):
            continue
        texts = own.get(task, questions).select("question_id", "question")
        wrong = wrong.join(texts, on="question_id", how="left")
        rows = sorted(wrong.to_dicts(), key=lambda row: sampling_order(row["question_id"]))
        entries.append(
            {
                "model": model,
                "task": task,
                "asked": len(given),
                "wrong": len(wrong),
                "relaxed": sum(bool(is_correct(row["predicted"], row["answer"], "relaxed")) for row in rows),
                "rows": rows[:WRONG],
            }
        )
    return entries


def _types(questions: pl.DataFrame) -> str:
    """The structural and semantic types of the questions, as text."""
    types = questions.select("structural", "semantic").unique().sort("structural", "semantic")
    return (
        ", ".join(f"{structural} {semantic}" for structural, semantic in types.rows()) or "none, as it has no question"
    )


def _drawn(folder: Path, figure: str, model: str) -> dict[str, str]:
    wide, narrow = folder / f"{model}.svg", folder / f"{model}-narrow.svg"
    if wide.stat().st_size > LARGE:
        wide = narrow = folder / f"{model}.png"
    return {
        "model": model,
        "link": f"figures/{figure}/{model}",
        "wide": _data_uri(wide),
        "narrow": _data_uri(narrow),
    }


def _data_uri(path: Path) -> str:
    kind = {".svg": "svg+xml", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def _reasons(skipped: pl.DataFrame) -> list[dict[str, Any]]:
    """The reasons, each with its number of questions; reasons that differ only in numbers or names share a row."""
    return (
        skipped.with_columns(reason=full_reason())
        .with_columns(kind=pl.col("reason").str.replace_all(r"[\d.,]+|\S*/\S*|'[^']*'", "…"))
        .group_by("stage", "model", "task", "kind", maintain_order=True)
        .agg(reason=pl.col("reason").first(), count=pl.len())
        .to_dicts()
    )
