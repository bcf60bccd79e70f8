"""Draw the measured knockouts of models whose information flow is known.

    python benchmarks/calibration.py [docs/images/calibration.png]

writes one panel per model with lines for the six edges; grey bands mark the layers in which information flows by the
model's weights.
"""

import sys

import altair as alt
import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import summarise
from vlmflow.calibration.planted import QUESTION, Plant, build_planted, paint
from vlmflow.edges import FLOW_EDGES, Edge
from vlmflow.figures.save import save
from vlmflow.figures.style import ARROW_FONT, FONT, STROKES

LAYERS, IMAGES = 12, 20
PLANTS = {
    "related patches → question (3) → last (8)": Plant.through_question(LAYERS, 3, 8),
    "other (2), then related patches (6) → question → last (9)": Plant.two_stages(LAYERS, 2, 6, 9),
    "image → last (5)": Plant.direct(LAYERS, 5),
}


def measure(plant: Plant) -> pl.DataFrame:
    vlm = build_planted(plant)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(IMAGES):
        width, height = rng.integers(48, 140, size=2)
        side = int(min(width, height))
        left, top = int(width - side) // 2, int(height - side) // 2
        size = side // 6
        related = (left + int(rng.integers(0, side // 3 - size)), top + int(rng.integers(0, side - size)), size, size)
        other = (left + 2 * side // 3, top + int(rng.integers(0, side - size)), size, size)
        scene = paint((int(width), int(height)), related, other, tuple(rng.integers(0, 2, 2)), int(rng.integers(2)))
        prompt = vlm.prompt(scene.image, QUESTION, objects={"image": [scene.related]})
        names = {"question_id": pl.lit(str(number)), "image_id": pl.lit(str(number))}
        rows.append(vlm.knockout(prompt, FLOW_EDGES, window=1).with_columns(**names))
    return summarise(pl.concat(rows), ["edge", "layer"], "change")


def panel(title: str, plant: Plant) -> alt.LayerChart:
    strokes = [STROKES[edge] for edge in FLOW_EDGES]
    names = [Edge.parse(edge).crossed for edge in FLOW_EDGES]
    data = measure(plant).with_columns(pl.col("edge").replace_strict(dict(zip(FLOW_EDGES, names, strict=True))))
    planted = pl.DataFrame({"layer": sorted({copy.layer for copy in plant.copies})})
    legend = alt.Legend(
        title=None, orient="bottom", columns=6, symbolDash=[1, 0], symbolStrokeWidth=0, columnPadding=24
    )
    color = alt.Color("edge:N").scale(domain=names, range=[s.color for s in strokes]).legend(legend)
    dash = alt.StrokeDash("edge:N").scale(domain=names, range=[list(s.dash) for s in strokes]).legend(None)
    shape = alt.Shape("edge:N").scale(domain=names, range=[s.shape for s in strokes]).legend(None)
    x = alt.X("layer:Q").title("Layer").axis(tickMinStep=1, grid=False)
    bars = alt.Chart(planted).mark_rule(strokeWidth=13, color="#dddddd").encode(x=x)
    y = alt.Y("mean:Q").title("Change in p(answer), %").scale(domain=[-100, 5])
    # The image contains the related patches, so the lines may coincide: the image's is wider and visible at both sides.
    is_image = alt.datum.edge == Edge.parse("image -> question").crossed
    width = alt.when(is_image).then(alt.value(5)).otherwise(alt.value(1.8))
    lines = (
        alt.Chart(data).mark_line(strokeJoin="round").encode(x=x, y=y, color=color, strokeDash=dash, strokeWidth=width)
    )
    points = alt.Chart(data).mark_point(size=30, filled=True, opacity=1).encode(x=x, y=y, color=color, shape=shape)
    return alt.layer(bars, lines, points).properties(width=250, height=150, title=title)


def main(path: str = "docs/images/calibration.png") -> None:
    panels = [panel(title, plant) for title, plant in PLANTS.items()]
    title = f"Window of one layer; means over {IMAGES} images; grey: the planted layers"
    chart = alt.hconcat(*panels, title=alt.TitleParams(title, anchor="start", fontSize=13, fontWeight="normal"))
    chart = (
        chart.configure(font=FONT)
        .configure_title(fontSize=12)
        .configure_legend(labelLimit=300, labelFontSize=12, labelFont=ARROW_FONT)
    )
    save(chart, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
