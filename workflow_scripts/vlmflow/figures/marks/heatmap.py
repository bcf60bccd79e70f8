"""The atlas: a row an edge, a column a layer, colour the change, a mark where its interval excludes 0."""

import altair as alt
import polars as pl

from vlmflow.edges import ALL_EDGES

from ..style import ARROW_FONT, dressed, name_of, title_of

LIMIT = 100  # percent of the answer's probability, at which colours end
# Dark for what the answer loses, so that a grey print still tells loss from gain.
COLORS = ["#08306b", "#2171b5", "#9ecae1", "#ffffff", "#fdc28c", "#f08c2e"]
STOPS = [-LIMIT, -LIMIT / 2, -LIMIT / 8, 0, LIMIT / 4, LIMIT]
ROW, PANEL = 12, 200  # pixels


def draw_heatmap(
    rows: pl.DataFrame, order: list[str], columns: int, title: str, subtitle: list[str], window: int
) -> alt.TopLevelMixin:
    """The figure; where the rows hold several windows, one is chosen by hand, `window` at first.

    Args:
        rows: panel, edge, window, layer, mean, low, high, questions, pictures.
        order: of the panels.
        columns: panels side by side.
        title, subtitle: of the figure.
        window: number of layers of the window that is shown.
    """
    known = {edge: place for place, edge in enumerate(ALL_EDGES)}
    edges = sorted(rows["edge"].unique(), key=lambda edge: known.get(edge, len(known)))
    names = {edge: name_of(edge) for edge in edges}
    # Of one picture there is no spread, and so no interval.
    several, lost, gained = pl.col("pictures") > 1, pl.col("high") < 0, pl.col("low") > 0
    mark = pl.when(several & lost).then(pl.lit("•")).when(several & gained).then(pl.lit("+")).otherwise(pl.lit(""))
    data = rows.select("panel", "edge", "window", "layer", "mean", "low", "high", "questions", mark=mark).with_columns(
        pl.col("edge").replace_strict(names), pl.col("mean", "low", "high").round(2)
    )
    y = alt.Y("edge:N", sort=list(names.values())).title(None)
    y = y.axis(labelLimit=320, labelFontSize=10, labelFont=ARROW_FONT, grid=False, ticks=False)
    layers = rows["layer"].unique().sort().to_list()
    step = max(1, -(-len(layers) // 10))
    x = alt.X("layer:O").title("Layer (middle of the window)").axis(values=layers[::step], labelAngle=0)
    base = alt.Chart().encode(x=x, y=y)
    scale = alt.Scale(domain=STOPS, range=COLORS, clamp=True, interpolate="rgb")
    legend = alt.Legend(title="Change in p(answer), %", orient="top", gradientLength=220, titleLimit=300)
    cells = base.mark_rect().encode(
        color=alt.Color("mean:Q").scale(scale).legend(legend),
        tooltip=[
            alt.Tooltip("edge:N", title="edge"),
            alt.Tooltip("layer:O", title="layer"),
            alt.Tooltip("window:O", title="window"),
            alt.Tooltip("mean:Q", title="change, %"),
            alt.Tooltip("low:Q", title="95 % from"),
            alt.Tooltip("high:Q", title="95 % to"),
            alt.Tooltip("questions:Q", title="questions"),
        ],
    )
    dark = alt.when(alt.datum.mean < -LIMIT / 3).then(alt.value("#ffffff")).otherwise(alt.value("#000000"))
    marks = base.transform_filter("datum.mark != ''").mark_text(fontSize=9).encode(text="mark:N", color=dark)
    panel = alt.layer(cells, marks).properties(width=max(PANEL, 5 * len(layers)), height=ROW * len(names))
    facet = alt.Facet("panel:N", sort=order).title(None).header(labelFontWeight="bold", labelFontSize=12)
    windows = sorted(data["window"].unique().to_list())
    if len(windows) > 1:
        chosen = alt.param(
            name="window", value=window, bind=alt.binding_select(options=windows, name="Window, layers: ")
        )
        panel = panel.transform_filter("datum.window == window")
        figure = panel.facet(facet, columns=columns, data=data).add_params(chosen)
    else:
        figure = panel.facet(facet, columns=columns, data=data)
    # Cells that do not apply stay grey.
    return dressed(figure.properties(title=title_of(title, subtitle))).configure_view(stroke="#cccccc", fill="#e6e6e6")
