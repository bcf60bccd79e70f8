"""From a probe's summary to a figure of one model."""

from pathlib import Path

import altair as alt
import polars as pl

from vlmflow.study import AtlasChart, Figure, KnockoutProbe, NormsChart, Probe, WordsProbe
from vlmflow.tables import whole

from .distribution import draw_distribution
from .heatmap import draw_heatmap
from .lines import Lines, draw_lines
from .style import STROKES, dressed, title_of

# Chart → column of the summary that tells lines apart, column on the x axis, titles of the axes, whether 0 is marked.
AXES = {
    "flow": ("edge", "layer", "Layer (middle of the window)", "Change in p(answer), %", True),
    "windows": ("edge", "layer", "Layer (middle of the window)", "Change in p(answer), %", True),
    "lens": ("word", "layer", "Layer", "Probability", True),
    "words": ("intervention", "layer", "Layer", "Jaccard similarity", True),
    "pruning": ("quantity", "last", "Last layers without image tokens", "Percent", True),
}


def chosen_rows(summary: pl.DataFrame, figure: Figure, probe: Probe, model: str) -> pl.DataFrame:
    """What a figure shows of a summary: one model's rows with a mean, of the figure's edges and window."""
    rows = summary.filter((pl.col("model") == model) & pl.col("mean").is_not_null())
    if edges := getattr(figure, "edges", None):
        rows = rows.filter(pl.col("edge").is_in(edges))
    if isinstance(probe, KnockoutProbe) and figure.chart in ("flow", "atlas"):
        rows = rows.filter(pl.col("window") == window_of(figure, probe))
    return rows


def window_of(figure: Figure, probe: KnockoutProbe) -> int:
    """The window that a figure shows: its own, or the probe's only one."""
    return getattr(figure, "window", None) or probe.window[0]


def draw(
    summary: pl.DataFrame,
    figure: Figure,
    probe: Probe,
    model: str,
    tasks: list[str],
    columns: int,
    interactive: bool = False,
) -> alt.TopLevelMixin:
    """The figure of one model.

    Args:
        summary: the probe's summary, all models and tasks.
        figure, probe: as the study file has them.
        model: the name of the model in the summary.
        tasks: the order of the panels.
        columns: how many panels stand side by side.
        interactive: for the screen: an atlas then holds all of its windows, to choose from.
    """
    rows = chosen_rows(summary, figure, probe, model)
    if len(rows) == 0:
        return _empty(figure.title, model)
    rows, order = _with_panels(rows, figure, probe, tasks)
    size = f"n = {_span(rows, 'questions')} questions a task, on {_span(rows, 'pictures')} pictures"
    subtitle = [f"{model}; {size}"] if columns > 1 else [model, size]
    if isinstance(figure, AtlasChart) and isinstance(probe, KnockoutProbe):
        if interactive:
            panels = dict(rows.select("task", "panel").unique().iter_rows())
            rows = summary.filter((pl.col("model") == model) & pl.col("mean").is_not_null())
            rows = rows.with_columns(panel=pl.col("task").replace_strict(panels))
        return draw_heatmap(rows, order, columns, figure.title, subtitle, window_of(figure, probe))
    if isinstance(figure, NormsChart):
        return draw_distribution(rows, order, columns, figure.title, subtitle, figure.threshold)
    line, x, x_title, y_title, zero = AXES[figure.chart]
    if isinstance(probe, WordsProbe):
        place = (
            "edges: middle, modules: first" if probe.edges and probe.modules else "middle" if probe.edges else "first"
        )
        x_title = f"Layer ({place} of the window)"
    found = rows[line].unique(maintain_order=True).to_list()
    wanted = getattr(figure, "edges", None) or [*(name for name in STROKES if name in found), *found]
    lines = [name for name in dict.fromkeys(wanted) if name in found]
    rows = rows.with_columns(line=pl.col(line), x=pl.col(x))
    return draw_lines(Lines(rows, lines, order, x_title, y_title, zero), columns, figure.title, subtitle)


def _with_panels(rows: pl.DataFrame, figure: Figure, probe: Probe, tasks: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """(rows with a column `panel`, the panels in order): a panel a task or, of windows, a panel a task and window."""
    keys = ["task", "window"] if figure.chart == "windows" else ["task"]
    several = [pl.col("several").max()] if "several" in rows.columns else []
    fewest, most = pl.col("questions").min().alias("fewest"), pl.col("questions").max()
    counts = rows.group_by(keys).agg(fewest, most, *several)
    labels = {}
    for row in counts.iter_rows(named=True):
        label = f"{row['task']}, k = {row['window']}" if "window" in row else str(row["task"])
        more = f", {row['several']} of several sub-words" if getattr(probe, "token", "first") == "last" else ""
        # Lines that not every question has are means over fewer.
        number = "" if row["fewest"] == row["questions"] else f"{row['fewest']} to "
        labels[tuple(row[key] for key in keys)] = f"{label} (n = {number}{row['questions']}{more})"
    ranks = {task: place for place, task in enumerate(tasks)}
    order = [labels[key] for key in sorted(labels, key=lambda key: (ranks[key[0]], *key[1:]))]
    names = [labels[key] for key in rows.select(keys).iter_rows()]
    return rows.with_columns(panel=pl.Series(names, dtype=pl.String)), order


def _empty(title: str, model: str) -> alt.TopLevelMixin:
    """In place of a figure for which nothing could be measured."""
    words = (
        alt.Chart(alt.Data(values=[{}]))
        .mark_text(fontSize=13)
        .encode(text=alt.value("No question was left to analyse."))
    )
    return dressed(words.properties(title=title_of(title, [model]), width=400, height=60))


def _span(rows: pl.DataFrame, column: str) -> str:
    """Of the largest number in each task: `200`, or `180 to 200` where they differ."""
    values = sorted(set(rows.group_by("task").agg(pl.col(column).max())[column]))
    return " to ".join(str(value) for value in values[:: max(1, len(values) - 1)])


def save(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write HTML that needs no network, SVG, or PNG at twice the size, by the ending of `path`."""
    with whole(path) as temporary:
        match Path(path).suffix:
            case ".html":
                chart.save(temporary, format="html", inline=True)
            case ".svg":
                chart.save(temporary, format="svg")
            case ".png":
                chart.save(temporary, format="png", scale_factor=2)
            case ending:
                raise ValueError(f"{path}: charts are written as .html, .svg or .png, not as {ending!r}")
