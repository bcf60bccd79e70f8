"""Axes and panels: which columns become lines and panels, and the headings of the panels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from .style import name_of


@dataclass(frozen=True)
class Axes:
    """Which columns of a summary a chart draws.

    Attributes:
        line: column with one line per value.
        x: column on the x axis.
        x_title, y_title: of the axes, with units.
        panels: columns with one panel per combination of values; the first one is `task`.
        doubling: whether equal steps on the x axis are doublings.
        zero: whether a rule marks 0.
        step: least distance of two ticks on the x axis.
    """

    line: str
    x: str
    x_title: str
    y_title: str
    panels: tuple[str, ...] = ("task",)
    doubling: bool = False
    zero: bool = True
    step: float = 1


@dataclass(frozen=True)
class FigureData:
    """The tables from which the figure of one model is drawn.

    Attributes:
        summary: the probe's summary, all models and tasks.
        model: name of the model in the summary.
        tasks: names of the tasks, in the order of the panels.
        curve_features: phases or knees, all models and tasks; None if the figure shows none.
        rows: task → the probe's own rows of the model, for a figure of examples.
        views: task → rows of the table `views`, for a figure of examples.
    """

    summary: pl.DataFrame
    model: str
    tasks: list[str]
    curve_features: pl.DataFrame | None = None
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    views: dict[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The medium for which a figure is drawn.

    Attributes:
        columns: panels side by side.
        interactive: whether it is drawn for the screen, where a reader can choose.
    """

    columns: int
    interactive: bool = False


@dataclass(frozen=True)
class Frame:
    """Title, subtitle and headings of the panels.

    Attributes:
        title, subtitle: of the figure.
        panels: headings of the panels, in their order.
        columns: panels side by side.
        interactive: whether a reader can choose a panel.
    """

    title: str
    subtitle: list[str]
    panels: list[str]
    columns: int
    interactive: bool = False


def panel_name(column: str, value: object) -> str:
    """The text of a panel's heading for one column; tasks and prompts keep the user's own names."""
    if column == "window":
        return f"k = {value}"
    return str(value) if column in ("task", "prompt") else name_of(str(value))


def with_panels(
    rows: pl.DataFrame, keys: Sequence[str], tasks: list[str], note: Callable[[pl.DataFrame], str] = lambda _: ""
) -> tuple[pl.DataFrame, list[str]]:
    """(the rows with a column `panel`, the headings of the panels in their order).

    Args:
        rows: of a summary.
        keys: columns with one panel per combination of values, `task` first.
        tasks: in the order of the panels; the values of other keys come in the order of the rows.
        note: the text that a heading adds to the number of questions of its rows.
    """
    # A heading leaves out keys with the same value in all panels.
    named = [key for key in keys if key in ("task", "window") or rows[key].n_unique() > 1]
    labels = {}
    for key, panel in rows.group_by(keys, maintain_order=True):
        values = dict(zip(keys, key, strict=True))
        label = ", ".join(panel_name(name, values[name]) for name in named)
        labels[key] = f"{label} (n = {_range(panel['questions'].unique())}{note(panel)})"
    ranks = {task: rank for rank, task in enumerate(tasks)}
    order = sorted(labels, key=lambda key: ranks[str(key[0])])
    headings = pl.Series([labels[key] for key in rows.select(keys).iter_rows()], dtype=pl.String)
    return rows.with_columns(panel=headings), [labels[key] for key in order]


def subtitle(rows: pl.DataFrame, model: str, columns: int) -> list[str]:
    """The model and the size of its samples; two lines if the figure has one column."""
    sizes = [_range(rows.group_by("task").agg(pl.col(name).max())[name]) for name in ("questions", "images")]
    size = f"n = {sizes[0]} questions per task, on {sizes[1]} images"
    return [f"{model}; {size}"] if columns > 1 else [model, size]


def _range(numbers: pl.Series) -> str:
    """`200`, or `180 to 200` if the numbers differ."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def evenly_spaced(layers: list[int], count: int) -> list[int]:
    """At most `count` of the layers, evenly spaced from the first to the last."""
    if len(layers) <= count:
        return layers
    return [layers[round(index * (len(layers) - 1) / (count - 1))] for index in range(count)]
