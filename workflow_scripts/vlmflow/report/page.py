"""The study's report: one HTML page that holds its figures and opens without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.claims.table import verdict_rows
from vlmflow.data.sampling import in_task
from vlmflow.figures import Chart
from vlmflow.study import Study, StudyTable

from .claims_matrix import claims_matrix
from .cost import in_report
from .figure_blocks import FigureFiles, chapters, data_uri
from .first_screen import first_screen, overview
from .left_out import answer_samples, left_out
from .methods import knockouts_text
from .template_environment import ENVIRONMENT


@dataclass(frozen=True)
class Results:
    """The tables of a study that its report shows.

    Attributes:
        questions: the questions of the study's dataset.
        task_questions: task → its questions, for tasks with a dataset of their own.
        answers: (model, task) → the answers.
        accuracy, skipped, cost: tables of these names.
        summaries, curve_features, tables: the tables of results, by their names in the study.
        claims: rows of the table `claims`; None if the study has none.
        stages: rows of the table `stages`; None if no probe of the study has any.
        failures: the measurements that failed, with the reasons; see `jobs.second_run`.
    """

    questions: pl.DataFrame
    task_questions: Mapping[str, pl.DataFrame]
    answers: Mapping[tuple[str, str], pl.DataFrame]
    accuracy: pl.DataFrame
    skipped: pl.DataFrame
    cost: pl.DataFrame
    summaries: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    curve_features: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    claims: pl.DataFrame | None = None
    stages: pl.DataFrame | None = None
    failures: Sequence[dict[str, str]] = ()


def render(
    study: Study, results: Results, files: FigureFiles, made: Mapping[str, Any], explorer: str | None = None
) -> str:
    """The page as HTML; every text from data is escaped.

    Args:
        study: as the study file has it.
        results: its tables.
        files: its drawn figures.
        made: see `methods.provenance`.
        explorer: address of the page of single questions; None if there is none.
    """
    all_questions = pl.concat([results.questions, *results.task_questions.values()])
    verdicts = None if results.claims is None else verdict_rows(results.claims)
    flow = files.folder.parent / "flow.svg"
    models, told = _first_screen(study, results, verdicts, files)
    return ENVIRONMENT.get_template("report.html").render(
        study=study,
        total=len(all_questions),
        images=all_questions["image_id"].n_unique(),
        models=models,
        overview=[] if results.stages is None else overview(results.stages),
        flow=None if results.stages is None else {"wide": data_uri(flow), "narrow": data_uri(_narrow(flow))},
        examples=examples(study, results.questions, results.task_questions),
        types=_types(all_questions),
        accuracy=results.accuracy.to_dicts(),
        answers=answer_samples(results.answers, results.questions, results.task_questions),
        tabulated=[_table(name, study.tables[name], written) for name, written in results.tables.items()],
        chapters=chapters(study, results.summaries, results.curve_features, files, told),
        claims=None if verdicts is None else claims_matrix(study, verdicts, explorer is not None),
        left_out=left_out(results.skipped),
        cost=in_report(results.cost),
        failures=_failures(results.failures),
        made=made,
        knockouts=knockouts_text(study),
        explorer=explorer,
    )


def _first_screen(
    study: Study, results: Results, verdicts: pl.DataFrame | None, files: FigureFiles
) -> tuple[list[dict[str, Any]], list[str]]:
    """(the models of the first screen, the sentences of figures that it says)."""
    openings = _openings(study, results, files)
    shown = {model: _opening(model, text) for model, text in openings.items()}
    models = first_screen(list(study.models), results.stages, verdicts, shown, results.accuracy)
    said = {sentence for model in models for sentence in model["sentences"]}
    return models, [text for model, text in openings.items() if shown[model] in said]


def _openings(study: Study, results: Results, files: FigureFiles) -> dict[str, str]:
    """Model → what the study's first figure says of it in words."""
    found: dict[str, str] = {}
    figures: Mapping[str, Chart] = study.figures
    for name, figure in figures.items():
        for model in files.drawn[name]:
            summary, features = results.summaries[figure.probe], results.curve_features.get(figure.probe)
            sentence = figure.sentence(study.probes[figure.probe], summary, model, features)
            if sentence and model not in found:
                found[model] = sentence
    return found


def _opening(model: str, sentence: str) -> str:
    """A figure's sentence without the name of its model."""
    told = sentence.removeprefix(f"{model}: ")
    return told[:1].upper() + told[1:]


def _narrow(path: Path) -> Path:
    return path.with_name(f"{path.stem}-narrow{path.suffix}")


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


def _failures(failed: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The failed measurements of each model, with the reason; measurements with the same reason share a row."""
    measurements: dict[tuple[str, str], list[str]] = {}
    for each in failed:
        name = each.get("table") or each.get("probe", "all")
        measurements.setdefault((each["model"], each["why"]), []).append(name)
    return [{"model": model, "why": why, "what": "; ".join(names)} for (model, why), names in measurements.items()]


def examples(study: Study, questions: pl.DataFrame, own: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """An example of each task, with the number of its questions."""
    rows = []
    for name, task in study.tasks.items():
        in_this_task = own.get(name, questions).filter(in_task(task))
        example = in_this_task.row(0, named=True) if len(in_this_task) else {"question": "–", "answer": "–"}
        rows.append(
            {"task": name, "count": len(in_this_task), "question": example["question"], "answer": example["answer"]}
        )
    return rows


def _types(questions: pl.DataFrame) -> str:
    """The structural and semantic types of the questions, as text."""
    types = questions.select("structural", "semantic").unique().sort("structural", "semantic")
    return (
        ", ".join(f"{structural} {semantic}" for structural, semantic in types.rows()) or "none, as it has no question"
    )
