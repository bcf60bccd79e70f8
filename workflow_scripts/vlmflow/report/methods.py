"""How a study was made: the facts of `provenance.json`, from which the report's paragraph for a paper is written."""

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from vlmflow.analysis.bootstrap import CONFIDENCE, RESAMPLES
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.knockout import CUT_BY_WINDOW
from vlmflow.settings import WindowShare
from vlmflow.study import Study

# Those that average, judge and draw; the versions that run a model are in its table.
PACKAGES = ("vlmflow", "polars", "numpy", "scipy", "altair", "vl-convert-python")
PAPERS = {
    "flow": "Cross-modal Information Flow in Multimodal Large Language Models, arXiv 2411.18620",
    "phase": "Phase Diagram of Vision Large Language Models Inference, arXiv 2411.00646",
    "thesis": "Investigating Multimodal Interaction in Vision Large Language Models, Wei, 2025",
}


def provenance(
    study: Study,
    *,
    questions: pl.DataFrame,
    tasks: Mapping[str, int],
    accuracy: pl.DataFrame,
    summaries: Mapping[str, pl.DataFrame],
    models: pl.DataFrame,
    skipped: pl.DataFrame,
) -> dict[str, Any]:
    """All that a reader needs to repeat the study, as JSON can hold it.

    Args:
        study: as the study file has it.
        questions: all questions that were read.
        tasks: task → number of its questions after the filters.
        accuracy: rows of the table `summary of answers`.
        summaries: probe → its summary.
        models: rows of the tables `model`.
        skipped: rows of the table `skipped`.
    """
    return {
        "study": study.model_dump(mode="json", exclude_defaults=True),
        "commit": commit(),
        "versions": {name: version(name) for name in PACKAGES},
        "models": {row["model"]: _model(study, row) for row in models.to_dicts()},
        "questions": {
            "read": len(questions),
            "images": questions["image_id"].n_unique(),
            "tasks": dict(tasks),
            "answered": [_counts(row) for row in accuracy.to_dicts()],
            "measured": {probe: _measured(summary) for probe, summary in summaries.items()},
            "left_out": len(skipped),
        },
        "statistics": {
            "interval": f"{100 * CONFIDENCE:.0f} % percentile interval of a Bayesian bootstrap over images",
            "resamples": RESAMPLES,
            "seed": 0,
            "correction": "Holm over the scopes and tests of a claim; Benjamini and Hochberg over layers and edges",
        },
        "papers": [PAPERS[paper] for paper in _papers(study)],
    }


def commit() -> dict[str, Any] | None:
    """The commit of the workflow, and whether files differ from it; None if it is not under version control."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        # A clone may lie in the repository of another project, which does not have this file.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no", ".").strip()
        return {"id": git("rev-parse", "HEAD").strip(), "changed": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return None


def _model(study: Study, row: dict[str, Any]) -> dict[str, Any]:
    settings = study.models[row["model"]]
    facts = {key: value for key, value in row.items() if key != "model"}
    asked = settings.model_dump(mode="json", include={"path", "template", "instruction", "reads", "fit"})
    # A folder's place is of no use to others, and its name may be private.
    asked["path"] = asked["path"] if settings.folder is None else Path(asked["path"]).name
    return asked | facts


def _counts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("model", "task", "asked", "correct", "analysed")}


def _measured(summary: pl.DataFrame) -> list[dict[str, Any]]:
    """The largest number of questions behind a mean, of each model and task."""
    counts = summary.group_by("model", "task", maintain_order=True).agg(pl.col("questions").max())
    return counts.to_dicts()


def _papers(study: Study) -> list[str]:
    named = {entry.declared(name).paper for name, entry in study.claims.items()}
    return [paper for paper in PAPERS if paper in named] or list(PAPERS)


def knockouts_text(study: Study) -> list[str]:
    """A phrase for each knockout of the study: its name, its edges' number, windows, and measure."""
    phrases = []
    for name, probe in study.probes.items():
        if not isinstance(probe, KnockoutProbe):
            continue
        sizes = [
            f"{100 * window.share:g} % of the depth" if isinstance(window, WindowShare) else str(window)
            for window in probe.windows
        ]
        where = {
            "around": "around every layer",
            "from": "from every layer on",
            "until": "up to every layer",
            "all but": "in all layers but these",
        }[probe.cut]
        windows = f"windows of {', '.join(sizes)} layers {where}" if probe.cut in CUT_BY_WINDOW else f"layers {where}"
        phrases.append(f"{name}: {len(probe.edge_groups)} edges, {windows}")
    return phrases
