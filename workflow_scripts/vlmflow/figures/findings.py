"""What a figure's numbers say: a sentence for each model, and a table of the largest effects."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from vlmflow.edges import FLOW_EDGES
from vlmflow.probes import AttentionMapProbe, Probe
from vlmflow.report.html import signed, unsigned
from vlmflow.study import AtlasChart, ExamplesChart, Figure, MapChart, NormsChart, SimilarityChart, VisualLensChart

from . import axes_of, chosen_rows, line_names, name_of, panel_name, why_nothing
from .findings_of_images import attention_words, budget_words, map_words, similarity_words, visual_lens_words

NOTHING = 1.0  # percent: less than this is told as nothing
STRONGEST = 5  # edges of an atlas that are named
# Charts whose panels are told apart by more than their task.
SEVERAL_PANELS = ("similarity", "attention", "visual-lens", "budget")


@dataclass(frozen=True)
class Reading:
    """How a chart's numbers are read.

    Attributes:
        line: column of the summary that tells lines apart.
        x: column of what stands on the x axis, and how a place there is called.
        where: what the table calls a place on the x axis.
        lowest: whether the lowest mean is the largest effect; else the highest.
        form: how a mean is written.
        explained: under the table.
    """

    line: str
    x: str
    where: str
    lowest: bool
    form: str
    explained: str


CHANGE = Reading("edge", "layer", "layer", True, "change", "Lowest mean change over the layers")
READINGS = {
    "flow": CHANGE,
    "windows": CHANGE,
    "atlas": CHANGE,
    "lens": Reading("word", "layer", "layer", False, "number", "Highest mean probability over the layers"),
    "words": Reading("intervention", "layer", "layer", True, "number", "Lowest mean similarity over the layers"),
    "pruning": Reading("quantity", "last", "last layers:", True, "percent", "Lowest mean"),
    "similarity": Reading("pair", "layer", "layer", False, "number", "Highest mean similarity over the layers"),
    "attention": Reading("edge", "layer", "layer", False, "percent", "Highest mean over the layers"),
    "map": Reading("line", "cell", "", False, "number", "The highest cell"),
    "visual-lens": Reading("quantity", "layer", "layer", False, "points", "Highest mean over the layers"),
    "budget": Reading("keep", "kept", "tokens:", True, "number", "Lowest mean loss, in nats a token"),
    "norms": Reading("patches", "norm", "norm", False, "percent", "The bin with the most patches, by its lower edge"),
}


def findings(figure: Figure, probe: Probe, summary: pl.DataFrame) -> dict[str, Any]:
    """The largest effect of each line in each task of each model: how large, its interval, and where it is; or why a
    line does not apply.

    Returns:
        lines (headings), rows (model, task, cells), explained; a cell is None, or has value, interval and where, or has
        a note.  There are no lines in a figure of single examples.
    """
    if isinstance(figure, ExamplesChart):
        return {"lines": [], "rows": [], "explained": ""}
    reading = READINGS[figure.chart]
    if figure.chart in SEVERAL_PANELS:
        reading = replace(reading, line=axes_of(figure, probe).line)
    shown = pl.concat(
        [chosen_rows(summary, figure, probe, model) for model in summary["model"].unique(maintain_order=True)]
        or [summary]
    )
    if isinstance(figure, MapChart):
        shown, summary = _mapped(figure, probe, shown), _mapped(figure, probe, summary)
    lines = (
        getattr(figure, "edges", None)
        or (shown if len(shown) else summary)[reading.line].unique(maintain_order=True).to_list()
    )
    if isinstance(figure, AtlasChart):
        lines = _strongest(shown)
    if figure.chart in SEVERAL_PANELS:
        shown, summary = _by_panel(figure, probe, shown, summary)
    extreme = pl.col("mean").arg_min() if reading.lowest else pl.col("mean").arg_max()
    keys = ["model", "task", reading.line]
    peaks = shown.group_by(keys, maintain_order=True).agg(pl.all().get(extreme))
    cells = {tuple(row[key] for key in keys): _cell(row, reading, figure.chart) for row in peaks.to_dicts()}
    if "note" in summary.columns:
        absent = summary.filter(pl.col("mean").is_null())
        notes = {tuple(row[key] for key in keys): {"note": row["note"]} for row in absent.to_dicts()}
        cells = notes | cells
    # Where nothing at all could be measured, the reason is that of every line.
    rows = [
        {
            "model": model,
            "task": task,
            "cells": [cells.get((model, task, line), cells.get((model, task, ""))) for line in lines],
        }
        for model, task in summary.select("model", "task").unique(maintain_order=True).iter_rows()
    ]
    explained = f"{reading.explained}, its 95 % interval, and where it lies."
    names = line_names(figure, axes_of(figure, probe), lines)
    return {"lines": list(names.values()), "rows": rows, "explained": explained}


def _by_panel(
    figure: Figure, probe: Probe, shown: pl.DataFrame, summary: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(what is shown, the same and the rows without a mean), with all that sets panels apart as their `task`, where it
    differs; what could not be measured is told in every panel of its task."""
    others = [name for name in axes_of(figure, probe).panels if name != "task" and shown[name].n_unique() > 1]
    keys = ["task", *others]
    names = [", ".join(map(panel_name, keys, row)) for row in shown.select(keys).iter_rows()]
    named = shown.with_columns(panel=pl.Series(names, dtype=pl.String))
    place = ["model", "task"]
    panels = named.select(*place, "panel").unique(maintain_order=True)
    absent = summary.filter(pl.col("mean").is_null()).join(panels, on=place, how="left", maintain_order="left")
    order = summary.select(place).unique(maintain_order=True).with_row_index("rank")
    everything = (
        pl.concat([named, absent])
        .join(order, on=place, how="left", maintain_order="left")
        .sort("rank", maintain_order=True)
    )
    named, everything = (
        rows.with_columns(task=pl.coalesce("panel", "task")).select(summary.columns) for rows in (named, everything)
    )
    return named, everything


def _mapped(figure: MapChart, probe: Probe, rows: pl.DataFrame) -> pl.DataFrame:
    """The map's rows, with the place of each cell in words; a line is what the map shows."""
    cell = pl.format("row {}, column {}", pl.col("row") + 1, pl.col("column") + 1)
    if not isinstance(probe, AttentionMapProbe):
        return rows.with_columns(cell=cell, line=pl.lit("growth of the loss, nats a token"))
    target = figure.target or probe.targets[0]
    rows = rows.filter(
        ((pl.col("quantity") == figure.quantity) & (pl.col("target") == target)) | pl.col("mean").is_null()
    )
    return rows.with_columns(
        cell=pl.format("layer {}, {}", "layer", cell), line=pl.lit(f"{target}: {name_of(figure.quantity)}, percent")
    )


def _strongest(rows: pl.DataFrame) -> list[str]:
    """The edges of an atlas whose knockout costs most anywhere."""
    return rows.group_by("edge").agg(pl.col("mean").min()).sort("mean", "edge")["edge"].head(STRONGEST).to_list()


def _cell(row: dict[str, Any], reading: Reading, chart: str) -> dict[str, str]:
    place = row[reading.x] if isinstance(row[reading.x], str) else f"{reading.where} {row[reading.x]:.4g}"
    if chart == "windows":
        place += f", k = {row['window']}"
    unit = "" if reading.form in ("number", "points") else " %"
    value, low, high = (_written(row[name], reading.form) for name in ("mean", "low", "high"))
    return {"value": value + unit, "interval": f"[{low}, {high}]", "where": place}


def _written(number: float, form: str) -> str:
    return signed(number) if form == "change" else unsigned(number, 1 if form in ("percent", "points") else 2)


def sentence(
    figure: Figure, probe: Probe, summary: pl.DataFrame, model: str, landmarks: pl.DataFrame | None = None
) -> str:
    """The figure in words: what its numbers say, and no more; nothing of single examples."""
    if isinstance(figure, ExamplesChart):
        return ""
    rows = chosen_rows(summary, figure, probe, model)
    if len(rows) == 0:
        return f"{model}: {why_nothing(summary, model)}"
    found = None if landmarks is None else landmarks.filter(pl.col("model") == model)
    match figure:
        case SimilarityChart():
            return f"{model}: {similarity_words(figure, rows, found if figure.phases else None)}"
        case MapChart():
            return f"{model}: {map_words(figure, probe, rows)}"
        case VisualLensChart():
            return f"{model}: {visual_lens_words(figure, rows)}"
    match figure.chart:
        case "attention":
            words = attention_words(rows)
        case "budget":
            words = budget_words(rows, found)
        case "lens":
            words = lens_words(rows)
        case "words":
            words = jaccard_words(rows)
        case "pruning":
            words = pruning_words(rows)
        case "norms":
            words = norms_words(rows, figure.threshold if isinstance(figure, NormsChart) else None)
        case "atlas":
            words = atlas_words(rows)
        case _:
            words = flow_words(getattr(figure, "edges", []), rows)
    return f"{model}: {words}"


def flow_words(edges: list[str], rows: pl.DataFrame) -> str:
    """What each edge's knockout costs most, and where it costs nothing."""
    parts = []
    for edge in edges:
        peaks = rows.filter(pl.col("edge") == edge).sort("mean").group_by("task", maintain_order=True).first()
        if len(peaks) == 0:
            parts.append(f"{name_of(edge)} could be measured on no question.")
            continue
        silent = peaks.filter(pl.col("mean") > -NOTHING)
        name, worst = name_of(edge), peaks.row(0, named=True)
        if len(silent) == len(peaks):
            parts.append(f"{name} costs less than {NOTHING:g} % of the answer's probability in every task and layer.")
            continue
        text = f"{name} costs most in {worst['task']}, {_change(worst)}"
        if len(silent):
            text += f", and less than {NOTHING:g} % anywhere in {', '.join(sorted(silent['task']))}"
        parts.append(text + ".")
    return " ".join(parts)


def _change(row: dict[str, Any]) -> str:
    several = f" ({row['window']} layer{'s' if row['window'] > 1 else ''})"
    return f"{signed(row['mean'])} % [{signed(row['low'])}, {signed(row['high'])}] around layer {row['layer']}{several}"


def atlas_words(rows: pl.DataFrame) -> str:
    """The strongest edges, and how many of those that [flow] looks at are among them."""
    strongest = _strongest(rows)
    peaks = rows.sort("mean").group_by("edge", maintain_order=True).first().sort("mean", "edge")
    named = [f"{name_of(row['edge'])} ({_change(row)}, {row['task']})" for row in peaks.head(STRONGEST).to_dicts()]
    ranks = {edge: place for place, edge in enumerate(peaks["edge"], 1)}
    looked = [f"{name_of(edge)} {ranks[edge]}" for edge in FLOW_EDGES if edge in ranks]
    text = f"of {len(peaks)} edges, the {len(strongest)} whose knockout costs most are {'; '.join(named)}."
    return text + (f" By what they cost, the paper's edges have the ranks {', '.join(looked)}." if looked else "")


def jaccard_words(rows: pl.DataFrame) -> str:
    """How far the predicted words change, at most, and at the last layer."""
    parts = []
    for name in map(str, rows["intervention"].unique(maintain_order=True)):
        group = rows.filter(pl.col("intervention") == name)
        worst = group.sort("mean").row(0, named=True)
        last = sorted(group.filter(pl.col("layer") == group["layer"].max())["mean"].to_list())
        parts.append(
            f"{name_of(name)}: similarity falls to {worst['mean']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}] "
            f"at layer {worst['layer']} in {worst['task']}, and is {last[0]:.2f} to {last[-1]:.2f} at the last "
            "layer, by task."
        )
    return " ".join(parts)


def pruning_words(rows: pl.DataFrame) -> str:
    """In how many of the last layers the tokens can be missing before answers get worse, and what that saves."""
    tasks, unjudged = [], []
    for task in rows["task"].unique(maintain_order=True).to_list():
        group = rows.filter(pl.col("task") == task)
        values = {(row["quantity"], row["last"]): row["mean"] for row in group.to_dicts()}
        numbers = sorted(last for quantity, last in values if quantity == "accuracy")
        if not numbers:
            unjudged.append(task)
            continue
        intact = values["accuracy", numbers[0]]
        kept = [n for n in numbers if all(values["accuracy", m] >= intact - NOTHING for m in numbers if m <= n)]
        most = max(kept)
        text = f"{task} up to {most} (work {values['work', most]:.0f} %"
        if ("time", most) in values:
            text += f", time {values['time', most]:.0f} %"
        tasks.append(text + ")")
    parts = []
    if tasks:
        parts.append(
            "last layers that can do without the picture's tokens with no more than one percentage point of right "
            f"answers lost: {'; '.join(tasks)}."
        )
    if unjudged:
        parts.append(f"{', '.join(unjudged)}: there is nothing to be right, and so no accuracy to lose.")
    return " ".join(parts)


def norms_words(rows: pl.DataFrame, threshold: float | None) -> str:
    """Where most norms lie, and how many patches lie above the threshold."""
    shares = rows.filter(pl.col("patches") == "all").group_by("norm").agg(pl.col("mean").mean()).sort("norm")
    edges, mass = shares["norm"].to_numpy(), shares["mean"].to_numpy()
    middle = np.interp([2.5, 50, 97.5], np.cumsum(mass), edges * 2 ** (1 / 8))
    text = (
        f"half of all patches have a norm below {middle[1]:.3g}, 95 % one between {middle[0]:.3g} and {middle[2]:.3g}."
    )
    if threshold is not None:
        # Within a bin, norms are taken to be spread evenly.
        below = np.interp(threshold, edges * 2 ** (1 / 8), np.cumsum(mass))
        text += f" About {100 - below:.1f} % of the patches lie above {threshold:g}."
    return text


def lens_words(rows: pl.DataFrame) -> str:
    """Where the answer is most readable, and from where on its capitalised form leads."""
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
