"""Maps over the image, averaged over questions."""

import altair as alt
import polars as pl

from ..panels import Frame
from .theme import panel_facet, themed, title_params

SIDE = 118  # pixels of a map
# White is 0 and high values are dark, so that high and low differ in a grey print as well.
UP = ["#ffffff", "#9ecae1", "#2171b5", "#08306b"]
BOTH = ["#f08c2e", "#fdc28c", "#ffffff", "#9ecae1", "#2171b5", "#08306b"]
LITTLE = 0.05  # share of the highest value; a value less than this below 0 is shown as 0


def draw_maps(rows: pl.DataFrame, quantity: str, frame: Frame) -> alt.TopLevelMixin:
    """The figure: a map per panel, and one colour scale for all maps.

    Args:
        rows: panel, row, column, mean, low, high, questions.
        quantity: title of the colour scale, with its unit.
        frame: title, subtitle and headings of the panels; twice as many maps as its columns are side by side.
    """
    scale, values = _scale(float(rows["mean"].min()), float(rows["mean"].max()))  # type: ignore[arg-type]
    legend = alt.Legend(title=quantity, orient="top", gradientLength=220, titleLimit=300, values=values, format=".2~g")
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(
            x=alt.X("column:O").axis(None),
            y=alt.Y("row:O").axis(None),
            color=alt.Color("mean:Q").scale(scale).legend(legend),
            tooltip=[
                alt.Tooltip("row:O", title="row"),
                alt.Tooltip("column:O", title="column"),
                alt.Tooltip("mean:Q", title=quantity, format=".3~g"),
                alt.Tooltip("low:Q", title="95 % from", format=".3~g"),
                alt.Tooltip("high:Q", title="95 % to", format=".3~g"),
                alt.Tooltip("questions:Q", title="questions"),
            ],
        )
        .properties(width=SIDE, height=SIDE)
    )
    facet = panel_facet(frame.panels, 11, SIDE)
    data = rows.select("panel", "row", "column", "mean", "low", "high", "questions")
    drawn = cells.facet(facet, columns=2 * frame.columns, data=data)
    return themed(drawn.properties(title=title_params(frame.title, frame.subtitle, frame.columns)))


def _scale(low: float, high: float) -> tuple[alt.Scale, list[float]]:
    """(colours above 0, or on both sides of 0 if values below 0 are not negligible; numbers in the legend)."""
    if low >= -LITTLE * high:
        high = high or 1.0  # a map of zeros is white
        stops = [high * share for share in (0, 1 / 3, 2 / 3, 1)]
        return alt.Scale(domain=stops, range=UP, clamp=True, interpolate="rgb"), [0.0, high]
    # The scale is symmetric, so that equally strong colours are equally far from 0.
    most = max(-low, high)
    stops = [-most, -most / 2, 0, most / 4, most / 2, most]
    return alt.Scale(domain=stops, range=BOTH, interpolate="rgb"), [-most, 0.0, most]
