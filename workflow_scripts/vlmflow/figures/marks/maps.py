"""Maps over the picture, averaged over questions."""

import altair as alt
import polars as pl

from vlmflow.probes import AttentionMapProbe, Probe
from vlmflow.study import MapChart

from ..style import dressed, title_of

SIDE = 118  # pixels of a map
# White is nothing; what a model would lose is dark, so that a grey print tells high from low.
UP = ["#ffffff", "#9ecae1", "#2171b5", "#08306b"]
BOTH = ["#f08c2e", "#fdc28c", "#ffffff", "#9ecae1", "#2171b5", "#08306b"]
LITTLE = 0.05  # of the highest value: less than this below 0 is shown as nothing
TITLES = {"share": "Share of the norms, %", "weight": "Attention weight, %", "": "Growth of the loss, nats a token"}


def evenly(layers: list[int], count: int) -> list[int]:
    """At most so many of the layers, from the first to the last."""
    if len(layers) <= count:
        return layers
    return [layers[round(place * (len(layers) - 1) / (count - 1))] for place in range(count)]


def target_of(figure: object, probe: AttentionMapProbe) -> str:
    """Who looks: the figure's own choice, or the probe's first target."""
    return getattr(figure, "target", None) or probe.targets[0]


def draw_maps(
    rows: pl.DataFrame, figure: MapChart, probe: Probe, tasks: list[str], model: str, columns: int
) -> alt.TopLevelMixin:
    """The figure: of attention a line of maps, a map a layer, for each task; of places a map for each task.

    Args:
        rows: the model's rows of the summary, of what the figure shows.
        figure, probe: as the study file has them.
        tasks: in their order.
        model: for the subtitle.
        columns: maps side by side are twice as many.
    """
    quantity = ""
    size = f"n = {int(rows['questions'].max())} questions a task"  # type: ignore[arg-type]
    about = [f"{model}; {size}"] if columns > 1 else [model, size]
    if isinstance(probe, AttentionMapProbe):
        quantity = figure.quantity
        layers = figure.layers or evenly(rows["layer"].unique().sort().to_list(), 6)
        rows = rows.filter(pl.col("layer").is_in(layers))
        about[-1] += f"; {target_of(figure, probe)} looks"
        label = pl.format("{}, layer {}", "task", "layer")
    else:
        label = pl.col("task")
    rows = rows.with_columns(panel=label)
    ranks = {task: place for place, task in enumerate(tasks)}
    keys = ["task", "layer"] if "layer" in rows.columns else ["task"]
    panels = rows.select("panel", *keys).unique(maintain_order=True)
    order = panels.sort(pl.col("task").replace_strict(ranks), *keys[1:])["panel"].to_list()
    scale, values = _scale(float(rows["mean"].min()), float(rows["mean"].max()))  # type: ignore[arg-type]
    legend = alt.Legend(
        title=TITLES[quantity], orient="top", gradientLength=220, titleLimit=300, values=values, format=".2~g"
    )
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
                alt.Tooltip("mean:Q", title=TITLES[quantity], format=".3~g"),
                alt.Tooltip("low:Q", title="95 % from", format=".3~g"),
                alt.Tooltip("high:Q", title="95 % to", format=".3~g"),
                alt.Tooltip("questions:Q", title="questions"),
            ],
        )
        .properties(width=SIDE, height=SIDE)
    )
    facet = alt.Facet("panel:N", sort=order).title(None).header(labelFontWeight="bold", labelFontSize=11)
    data = rows.select("panel", "row", "column", "mean", "low", "high", "questions")
    drawn = cells.facet(facet, columns=2 * columns, data=data)
    return dressed(drawn.properties(title=title_of(figure.title, about)))


def _scale(low: float, high: float) -> tuple[alt.Scale, list[float]]:
    """(colours from nothing up, or, where there is anything below 0 to speak of, to both sides of it; the numbers in
    the legend)."""
    if low >= -LITTLE * high:
        high = high or 1.0  # where all is nothing, nothing is white
        stops = [high * part for part in (0, 1 / 3, 2 / 3, 1)]
        return alt.Scale(domain=stops, range=UP, clamp=True, interpolate="rgb"), [0.0, high]
    # As steep below 0 as above it, so that a colour means the same distance.
    most = max(-low, high)
    stops = [-most, -most / 2, 0, most / 4, most / 2, most]
    return alt.Scale(domain=stops, range=BOTH, interpolate="rgb"), [-most, 0.0, most]
