"""Single images as a model receives them, with values or words on their patches."""

import base64
import textwrap
from typing import Any

import altair as alt

from ..style import ARROW_FONT
from .theme import strip_invalid_xml, themed, title_params

SIDE = 140  # pixels of an image
WORD = 30  # pixels of a patch with a word
LETTERS = 7  # of a word; longer words are cut


def stack_rows(rows: list[Any], title: str, subtitle: list[str]) -> alt.TopLevelMixin:
    """The figure: rows of images, one below the other."""
    figure = alt.vconcat(*rows, spacing=22).resolve_scale(opacity="independent", x="independent", y="independent")
    return themed(figure.properties(title=title_params(title, subtitle, 1)))


def row_of_images(panels: list[Any], heading: str, columns: int) -> alt.ConcatChart:
    """Images side by side under a heading, about as wide as a page of `columns` columns."""
    title = textwrap.wrap(strip_invalid_xml(heading), 90 if columns > 1 else 45)
    across = max(1, (760 if columns > 1 else 320) // (int(panels[-1].width) + 8))
    return alt.concat(*panels, columns=across, spacing=8).properties(
        title=alt.TitleParams(title, anchor="start", fontSize=12, font=ARROW_FONT)
    )


def shaded_image(view: dict[str, Any], values: list[float], columns: int, most: float, title: str) -> Any:
    """The image under a dark layer that is most transparent where the values are high.

    Args:
        view: row of the table `views`.
        values: of the cells, row by row.
        columns: cells side by side.
        most: the value at which the layer is fully transparent.
        title: text above the image.
    """
    shares = [{"share": max(0.0, value) / most if most > 0 else 0.0} for value in values]
    scale = alt.Scale(domain=[0, 1], range=[0.88, 0.0])
    shade = (
        alt.Chart(_cells(shares, columns))
        .mark_rect(color="#10101c", stroke=None)
        .encode(
            opacity=alt.Opacity("share:Q").scale(scale).legend(None),
            tooltip=[alt.Tooltip("share:Q", title="of the highest", format=".2f")],
        )
    )
    return _on_image(view, [shade], SIDE, round(SIDE * view["rows"] / view["columns"]), title)


def word_grid(view: dict[str, Any], words: list[str], title: str) -> Any:
    """The image in pale colours with a word on each patch.

    Args:
        view: row of the table `views`.
        words: of the patches, row by row.
        title: text above the image.
    """
    width = max(SIDE, WORD * view["columns"])
    height = round(width * view["rows"] / view["columns"])
    shown = [strip_invalid_xml(word) for word in words]
    data = _cells([{"word": word, "short": _shortened(word)} for word in shown], view["columns"])
    pale = alt.Chart(data).mark_rect(color="#ffffff", opacity=0.62, stroke="#bbbbbb", strokeWidth=0.4)
    text = (
        alt.Chart(data)
        .mark_text(fontSize=8, color="#000000")
        .encode(text="short:N", tooltip=[alt.Tooltip("word:N", title="word")])
    )
    return _on_image(view, [pale, text], width, height, title)


def _shortened(word: str) -> str:
    # Vega would cut by UTF-16 units, and half of a surrogate pair cannot be drawn.
    return word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…"


def _cells(values: list[dict[str, Any]], columns: int) -> alt.Data:
    return alt.Data(
        values=[{"row": index // columns, "column": index % columns, **cell} for index, cell in enumerate(values)]
    )


def _on_image(view: dict[str, Any], layers: list[alt.Chart], width: int, height: int, title: str) -> Any:
    """The image with layers of cells on it."""
    x = alt.X("column:O").axis(None).scale(paddingInner=0, paddingOuter=0)
    y = alt.Y("row:O").axis(None).scale(paddingInner=0, paddingOuter=0)
    placed = [layer.encode(x=x, y=y) for layer in layers]
    heading = alt.TitleParams(title, fontSize=11, fontWeight="normal")
    return alt.layer(_image(view, width, height), *placed).properties(width=width, height=height, title=heading)


def _image(view: dict[str, Any], width: int, height: int) -> alt.Chart:
    kind = "png" if view["image"][:4] == b"\x89PNG" else "jpeg"
    link = f"data:image/{kind};base64," + base64.b64encode(view["image"]).decode()
    return (
        alt.Chart(alt.Data(values=[{}]))
        .mark_image(url=link, width=width, height=height, aspect=False)
        .encode(x=alt.value(width / 2), y=alt.value(height / 2))
    )
