"""From a probe's summary to a figure of one model."""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from vlmflow.probes import KnockoutProbe, Probe
from vlmflow.study import AtlasChart, ExamplesChart, Figure, MapChart, NormsChart, SimilarityChart
from vlmflow.tables import whole

from .marks.curve_features import bands_of, marks_of
from .marks.distribution import draw_distribution
from .marks.heatmap import draw_heatmap
from .marks.image_panels import draw_examples
from .marks.lines import Lines, draw_lines
from .marks.maps import draw_maps
from .panels import axes_of, chosen_rows, line_names, panel_name, window_of
from .style import STROKES, drawable, dressed, title_of


@dataclass(frozen=True)
class More:
    """What some figures are drawn from besides the summary of their probe.

    Attributes:
        landmarks: phases or knees, all models and tasks.
        rows: task → the probe's own rows of the model.
        views: task → rows of the table `views`.
    """

    landmarks: pl.DataFrame | None = None
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    views: dict[str, pl.DataFrame] = field(default_factory=dict)


NOTHING_MORE = More()


def draw(
    summary: pl.DataFrame,
    figure: Figure,
    probe: Probe,
    model: str,
    tasks: list[str],
    columns: int,
    interactive: bool = False,
    more: More = NOTHING_MORE,
) -> alt.TopLevelMixin:
    """The figure of one model.

    Args:
        summary: the probe's summary, all models and tasks.
        figure, probe: as the study file has them.
        model: the name of the model in the summary.
        tasks: the order of the panels.
        columns: how many panels stand side by side.
        interactive: for the screen: an atlas then holds all of its windows, to choose from.
        more: what else it shows.
    """
    if isinstance(figure, ExamplesChart):
        examples = draw_examples(figure, probe, more.rows, more.views, model, columns)
        return examples or _empty(figure.title, model, why_nothing(summary, model))
    rows = chosen_rows(summary, figure, probe, model)
    if len(rows) == 0:
        return _empty(figure.title, model, why_nothing(summary, model))
    if isinstance(figure, MapChart):
        return draw_maps(rows, figure, probe, tasks, model, columns)
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
    axes = axes_of(figure, probe)
    found = rows[axes.line].unique(maintain_order=True).to_list()
    known = getattr(probe, "prompts", {}) if axes.line == "prompt" else STROKES
    wanted = getattr(figure, "edges", None) or [*(name for name in known if name in found), *found]
    shown = Lines(
        rows.with_columns(line=pl.col(axes.line), x=pl.col(axes.x)),
        [name for name in dict.fromkeys(wanted) if name in found],
        order,
        axes.x_title,
        axes.y_title,
        axes.zero,
        axes.doubling,
        names=line_names(figure, axes, found),
    )
    if more.landmarks is not None:
        landmarks = more.landmarks.filter(pl.col("model") == model)
        place = bands_of if isinstance(figure, SimilarityChart) else marks_of
        shown = place(shown, landmarks, axes)
    return draw_lines(shown, columns, figure.title, subtitle)


def _with_panels(rows: pl.DataFrame, figure: Figure, probe: Probe, tasks: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """(rows with a column `panel`, the panels in order): a panel a task and what else the figure sets apart."""
    keys = list(axes_of(figure, probe).panels)
    several = [pl.col("several").max()] if "several" in rows.columns else []
    fewest, most = pl.col("questions").min().alias("fewest"), pl.col("questions").max()
    counts = rows.group_by(keys, maintain_order=True).agg(fewest, most, *several)
    # What is the same in all panels is not repeated above each.
    told = [key for key in keys if key in ("task", "window") or counts[key].n_unique() > 1]
    labels = {}
    for row in counts.iter_rows(named=True):
        label = ", ".join(panel_name(key, row[key]) for key in told)
        more = f", {row['several']} of several sub-words" if getattr(probe, "token", "first") == "last" else ""
        # Lines that not every question has are means over fewer.
        number = "" if row["fewest"] == row["questions"] else f"{row['fewest']} to "
        labels[tuple(row[key] for key in keys)] = f"{label} (n = {number}{row['questions']}{more})"
    ranks = {task: place for place, task in enumerate(tasks)}
    listed = {key: place for place, key in enumerate(labels)}
    order = sorted(labels, key=lambda key: (ranks[key[0]], *(key[1:] if "window" in keys else [listed[key]])))
    names = [labels[key] for key in rows.select(keys).iter_rows()]
    return rows.with_columns(panel=pl.Series(names, dtype=pl.String)), [labels[key] for key in order]


def why_nothing(summary: pl.DataFrame, model: str) -> str:
    """Why nothing could be measured of a model, where the summary says it."""
    if "note" in summary.columns:
        notes = summary.filter((pl.col("model") == model) & pl.col("note").is_not_null())["note"]
        if len(notes):
            return str(notes[0])
    if len(summary.filter((pl.col("model") == model) & pl.col("mean").is_not_null())):
        return "of what the figure shows, nothing could be measured."
    return "no question was left to analyse."


def _empty(title: str, model: str, why: str) -> alt.TopLevelMixin:
    """In place of a figure for which nothing could be measured."""
    lines = textwrap.wrap(drawable(why[:1].upper() + why[1:]), 70)
    words = (
        alt.Chart(alt.Data(values=[{}])).mark_text(fontSize=13, lineBreak="\n").encode(text=alt.value("\n".join(lines)))
    )
    return dressed(words.properties(title=title_of(title, [model]), width=480, height=40 + 18 * len(lines)))


def _span(rows: pl.DataFrame, column: str) -> str:
    """Of the largest number in each task: `200`, or `180 to 200` where they differ."""
    values = sorted(set(rows.group_by("task").agg(pl.col(column).max())[column]))
    return " to ".join(str(value) for value in values[:: max(1, len(values) - 1)])


class _Escaped(json.JSONEncoder):
    """JSON that can stand inside of a page's script, whatever the texts in it: a question may hold `</script>`."""

    def iterencode(self, o: Any, _one_shot: bool = False) -> Iterator[str]:
        for piece in super().iterencode(o, _one_shot):
            yield piece.replace("<", "\\u003c").replace(">", "\\u003e")

    def encode(self, o: Any) -> str:
        return "".join(self.iterencode(o))


def _numbered_anew(drawing: str) -> str:
    """The SVG with its gradients numbered from 0: their writer counts on from one drawing to the next, so that the same
    figure would differ by what was drawn before it."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'(?<=id="gradient_)\d+(?=")|(?<=url\(#gradient_)\d+(?=\))',
        lambda found: str(numbers.setdefault(found[0], len(numbers))),
        drawing,
    )


def save(chart: alt.TopLevelMixin, path: str | Path) -> None:
    """Write HTML that needs no network, SVG, or PNG at twice the size, by the ending of `path`."""
    with whole(path) as temporary:
        match Path(path).suffix:
            case ".html":
                chart.save(temporary, format="html", inline=True, json_kwds={"cls": _Escaped})
            case ".svg":
                chart.save(temporary, format="svg")
                temporary.write_text(_numbered_anew(temporary.read_text(encoding="utf-8")), encoding="utf-8")
            case ".png":
                chart.save(temporary, format="png", scale_factor=2)
            case ending:
                raise ValueError(f"{path}: charts are written as .html, .svg or .png, not as {ending!r}")
