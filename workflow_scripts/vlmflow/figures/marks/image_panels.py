"""Single pictures as a model sees them, with what a probe found on their patches, layer by layer."""

import base64
import textwrap
from collections.abc import Iterator
from typing import Any

import altair as alt
import polars as pl

from vlmflow.probes import AttentionMapProbe, Probe, VisualLensProbe
from vlmflow.study import ExamplesChart

from ..style import ARROW_FONT, drawable, dressed, title_of
from .maps import evenly, target_of

SIDE = 140  # pixels of a picture
WORD = 30  # pixels of a patch on which a word stands
LETTERS = 7  # of a word, before it is cut
LAYERS = 4


def draw_examples(
    figure: ExamplesChart,
    probe: Probe,
    rows: dict[str, pl.DataFrame],
    views: dict[str, pl.DataFrame],
    model: str,
    columns: int,
) -> alt.TopLevelMixin | None:
    """The figure: for each question its words, and a line of pictures; None where there is none.

    Args:
        figure, probe: as the study file has them.
        rows: task → the probe's rows.
        views: task → rows of the table `views`.
        model: for the subtitle.
        columns: pictures side by side are twice as many, on narrow pages two.
    """
    lines = []
    for task, shown in views.items():
        for view in shown.to_dicts():
            mine = rows[task].filter(pl.col("question_id") == view["question_id"])
            panels = list(_panels(figure, probe, mine, view))
            if panels:
                asked = drawable(f"{task}: {view['question']} ({view['answer']})")
                title = textwrap.wrap(asked, 90 if columns > 1 else 45)
                lines.append(
                    alt.concat(*panels, columns=_across(panels[-1].width, columns), spacing=8).properties(
                        title=alt.TitleParams(title, anchor="start", fontSize=12, font=ARROW_FONT)
                    )
                )
    if not lines:
        return None
    figures = alt.vconcat(*lines, spacing=22).resolve_scale(opacity="independent", x="independent", y="independent")
    return dressed(figures.properties(title=title_of(figure.title, [_about(figure, probe, model)])))


def _across(width: Any, columns: int) -> int:
    """Pictures side by side, so that a line is about as wide as a page."""
    return max(1, (760 if columns > 1 else 320) // (int(width) + 8))


def _about(figure: ExamplesChart, probe: Probe, model: str) -> str:
    if isinstance(probe, VisualLensProbe):
        return f"{model}; the most probable word of each patch"
    if isinstance(probe, AttentionMapProbe):
        return f"{model}; {target_of(figure, probe)} looks, brightest where most"
    return f"{model}; brightest where the loss grows most without the cell"


def _panels(figure: ExamplesChart, probe: Probe, rows: pl.DataFrame, view: dict[str, Any]) -> Iterator[Any]:
    """A picture a layer, or one."""
    if isinstance(probe, VisualLensProbe):
        rows = rows.filter(pl.col("decoded").is_not_null() & (pl.col("place") == probe.places[0]))
        for row in _of_layers(figure, rows):
            yield _worded(view, row)
        return
    size = (view["rows"], view["columns"])
    column = "growth"
    if isinstance(probe, AttentionMapProbe):
        column = figure.quantity
        rows = rows.filter(pl.col("target") == target_of(figure, probe))
        chosen = list(_of_layers(figure, rows))
    else:
        chosen = rows.to_dicts()
        size = (chosen[0]["grid"], chosen[0]["grid"]) if chosen else size
    # One scale for all layers of a picture, so that they can be compared.
    most = max((max(row[column]) for row in chosen), default=0.0)
    if chosen:
        yield _veiled(view, [1.0] * (size[0] * size[1]), size, 1.0, "what the model sees")
    for row in chosen:
        yield _veiled(view, row[column], size, most, f"layer {row['layer']}" if "layer" in row else "without each cell")


def _of_layers(figure: ExamplesChart, rows: pl.DataFrame) -> list[dict[str, Any]]:
    layers = figure.layers or evenly(rows["layer"].unique().sort().to_list(), LAYERS)
    return rows.filter(pl.col("layer").is_in(layers)).sort("layer").to_dicts()


def _picture(view: dict[str, Any], width: int, height: int) -> alt.Chart:
    kind = "png" if view["picture"][:4] == b"\x89PNG" else "jpeg"
    link = f"data:image/{kind};base64," + base64.b64encode(view["picture"]).decode()
    return (
        alt.Chart(alt.Data(values=[{}]))
        .mark_image(url=link, width=width, height=height, aspect=False)
        .encode(x=alt.value(width / 2), y=alt.value(height / 2))
    )


def _cells(values: list[dict[str, Any]], columns: int) -> alt.Data:
    return alt.Data(
        values=[{"row": place // columns, "column": place % columns, **cell} for place, cell in enumerate(values)]
    )


def _on(view: dict[str, Any], layers: list[alt.Chart], width: int, height: int, title: str) -> Any:
    """What stands on the picture's cells, on the picture."""
    x = alt.X("column:O").axis(None).scale(paddingInner=0, paddingOuter=0)
    y = alt.Y("row:O").axis(None).scale(paddingInner=0, paddingOuter=0)
    placed = [layer.encode(x=x, y=y) for layer in layers]
    heading = alt.TitleParams(title, fontSize=11, fontWeight="normal")
    return alt.layer(_picture(view, width, height), *placed).properties(width=width, height=height, title=heading)


def _veiled(view: dict[str, Any], values: list[float], size: tuple[int, int], most: float, title: str) -> Any:
    """The picture under a veil that is thinnest where the values are high."""
    clear = [{"share": max(0.0, value) / most if most > 0 else 0.0} for value in values]
    scale = alt.Scale(domain=[0, 1], range=[0.88, 0.0])
    veil = (
        alt.Chart(_cells(clear, size[1]))
        .mark_rect(color="#10101c", stroke=None)
        .encode(
            opacity=alt.Opacity("share:Q").scale(scale).legend(None),
            tooltip=[alt.Tooltip("share:Q", title="of the highest", format=".2f")],
        )
    )
    return _on(view, [veil], SIDE, round(SIDE * view["rows"] / view["columns"]), title)


def _shortened(word: str) -> str:
    # Here and not in the chart, where letters are halves of some signs, and half a sign cannot be drawn.
    return word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…"


def _worded(view: dict[str, Any], row: dict[str, Any]) -> Any:
    """The picture, paled, with a word on each patch."""
    width = max(SIDE, WORD * view["columns"])
    height = round(width * view["rows"] / view["columns"])
    shown = [drawable(word) for word in row["decoded"]]
    data = _cells([{"word": word, "short": _shortened(word)} for word in shown], view["columns"])
    pale = alt.Chart(data).mark_rect(color="#ffffff", opacity=0.62, stroke="#bbbbbb", strokeWidth=0.4)
    words = (
        alt.Chart(data)
        .mark_text(fontSize=8, color="#000000")
        .encode(text="short:N", tooltip=[alt.Tooltip("word:N", title="word")])
    )
    name = "embedding" if row["layer"] < 0 else f"layer {row['layer']}"
    return _on(view, [pale, words], width, height, name)
