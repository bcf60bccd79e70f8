"""The table of claims and models, with what stands behind each verdict: test, figures, and questions."""

from typing import Any
from urllib.parse import urlencode

import polars as pl

from vlmflow.figures import Chart
from vlmflow.study import Study


def claims_matrix(study: Study, verdicts: pl.DataFrame, with_explorer: bool) -> list[dict[str, Any]]:
    """The claims in the order of the study, each with a verdict per model and the rows behind it.

    Args:
        study: as the study file has it.
        verdicts: see `vlmflow.claims.table.verdict_rows`.
        with_explorer: whether single questions can be linked to.
    """
    claims: dict[str, dict[str, Any]] = {}
    for row in verdicts.to_dicts():
        about = {name: row[name] for name in ("claim", "paper", "source", "text", "printed")}
        claim = claims.setdefault(
            row["claim"], about | {"verdicts": {}, "rows": [], "figures": figures_of(study, row["claim"])}
        )
        row["shown"] = "" if row["estimate"] is None else estimate_text(row)
        row["questions"] = _questions(study, row) if with_explorer else None
        claim["rows"].append(row)
        claim["verdicts"].setdefault(row["model"], []).append(row["verdict"])
    for claim in claims.values():
        claim["verdicts"] = {model: _worst(each) for model, each in claim["verdicts"].items()}
    return list(claims.values())


def _worst(verdicts: list[str]) -> str:
    """The verdict of a model that is compared with several others: the one that is furthest from support."""
    order = ("contradicted", "undecided", "supported", "does not apply")
    return min(verdicts, key=order.index)


def estimate_text(row: dict[str, Any]) -> str:
    """`estimate [low, high]`, with three significant digits."""
    estimate, low, high = (f"{row[name]:.3g}".replace("-", "−") for name in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


def figures_of(study: Study, claim: str) -> list[str]:
    """The figures that show what a claim is judged on."""
    entry = study.claims[claim]
    declared = entry.declared(claim)
    if not declared.tests:
        return []
    probes = {name for role in declared.probes for name in entry.probes_of(role)}
    lines = {line.chosen.get("edge") for _, line in declared.lines}
    return [name for name, figure in study.figures.items() if figure.probe in probes and _shows(figure, lines)]


def _shows(figure: Chart, lines: set[Any]) -> bool:
    shown = set(figure.chosen_lines)
    return not shown or lines == {None} or bool(lines & shown)


def _questions(study: Study, row: dict[str, Any]) -> str | None:
    """The part of an address that opens the explorer at the questions behind a verdict; None if it has none."""
    if row["estimate"] is None:
        return None
    task = next((task for task in study.tasks if row["scope"].split(", ")[0] == task), None)
    declared = study.claims[row["claim"]].declared(row["claim"])
    edge = next((line.chosen["edge"] for _, line in declared.lines if "edge" in line.chosen), None)
    chosen = {"model": row["model"], "task": task, "edge": edge, "sort": "effect" if edge else None}
    return urlencode({key: value for key, value in chosen.items() if value is not None})
