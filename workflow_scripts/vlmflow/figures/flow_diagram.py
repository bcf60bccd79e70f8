"""The diagram of a study's flow: an arrow from segment to segment for every stage that was found, model by model."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

from vlmflow.edges import Edge, is_own

from .numbers import signed

if TYPE_CHECKING:
    import altair as alt

# Lanes from left to right; other segments of a study are left out, except its own.
LANES = (
    "caption",
    "other patches",
    "related patches",
    "image",
    "question",
    "true option",
    "false option",
    "options",
    "objects",
    "last",
)
MOST_LANES = 6
ALWAYS = ("caption", "image", "question", "last")
LANE = 96  # pixels between two lanes
NARROW = 310  # pixels of all lanes of a narrow figure
NARROWEST = 56  # pixels between two lanes
AXIS = 30  # pixels beside the lanes of a panel
WIDE = 1000  # pixels of a wide figure
HEIGHT = 300  # pixels of a panel
SLOPE = 0.045  # share of the depth by which an arrow begins below its end
LINE = 0.05  # share of the depth that a label takes
LABEL = 0.26  # lanes from the beginning of an arrow to its label
THICKNESS = 0.02  # share of the depth that half of an arrow of 100 % takes
APART = 0.075  # share of the depth between the ends of two arrows that would lie on each other
TITLE = "The flow of information"


def lanes_of(stages: pl.DataFrame) -> list[str]:
    """The segments that the diagram shows, from left to right.

    Args:
        stages: rows of the table `stages`, of all models.
    """
    measured, found = _segments(stages), _segments(stages.filter(pl.col("stage") > 0))
    own = sorted(name for name in found if is_own(name))
    order = [*LANES[:-1], *own, LANES[-1]]
    lanes = [name for name in order if name in measured]
    if len(lanes) > MOST_LANES:
        lanes = [name for name in lanes if name in found or name in ALWAYS]
    further = [name for name in lanes if name not in ALWAYS][: MOST_LANES - sum(name in ALWAYS for name in lanes)]
    return [name for name in lanes if name in ALWAYS or name in further]


def _edges(stages: pl.DataFrame) -> Iterable[Edge]:
    edges = [Edge.parse(edge) for edge in stages["edge"].unique(maintain_order=True)]
    return [edge for edge in edges if edge.source != edge.target]


def _segments(stages: pl.DataFrame) -> set[str]:
    """The segments of all edges between two of them."""
    return {name for edge in _edges(stages) for name in (edge.source, edge.target)}


def arrows_of(stages: pl.DataFrame, lanes: list[str]) -> pl.DataFrame:
    """An arrow for each stage between two lanes: model, edge, x, y, x2, y2, low, high, size, label, label_x, label_y.

    Depths are shares of the model's layers that come before.  `low` and `high` are the interval of an arrow's place;
    arrows that would begin or end at the same place are drawn a little above each other.

    Args:
        stages: rows of the table `stages`.
        lanes: see `lanes_of`.
    """
    place = {name: index for index, name in enumerate(lanes)}
    rows = []
    for row in stages.filter(pl.col("stage") > 0).to_dicts():
        edge = Edge.parse(row["edge"])
        if edge.source == edge.target or edge.source not in place or edge.target not in place:
            continue
        depth, low, high = (row[name] / row["layers"] for name in ("layer", "layer_low", "layer_high"))
        x, x2 = float(place[edge.source]), float(place[edge.target])
        rows.append(
            {name: row[name] for name in ("model", "edge", "layer", "layer_low", "layer_high", "effect")}
            | {"interval": f"{signed(row['low'])} to {signed(row['high'])} %"}
            | {"x": x, "x2": x2, "y2": depth, "low": low, "high": high, "size": -row["effect"]}
            | {"label": f"{signed(row['effect'], 0)} %", "label_x": x + LABEL}
        )
    return _with_label_places(_apart(rows))


def _apart(rows: list[dict]) -> list[dict]:
    """The arrows with their beginnings, `y`, and with their ends apart from each other."""
    placed: dict[tuple[str, str, float], float] = {}
    # The arrow from the nearest segment is the lowest, so that no other one crosses its label.
    for row in sorted(rows, key=lambda row: (row["model"], round(row["y2"], 2), abs(row["x2"] - row["x"]))):
        ends = [(row["model"], "from", row["x"]), (row["model"], "to", row["x2"])]
        row["y2"] = max([row["y2"], *(placed[end] + APART for end in ends if end in placed)])
        row["y"] = row["y2"] - SLOPE
        placed |= dict.fromkeys(ends, row["y2"])
    return rows


def _with_label_places(rows: list[dict]) -> pl.DataFrame:
    """The arrows with `label_y`: just above the line's beginning, and no two labels of one lane above each other."""
    placed: dict[tuple[str, float], list[float]] = {}
    for row in sorted(rows, key=lambda row: (row["model"], row["label_x"], row["y"])):
        taken = placed.setdefault((row["model"], row["label_x"]), [])
        # A label is about half a lane long, and its line rises beside it.
        rising = SLOPE * (LABEL + 0.5) / abs(row["x2"] - row["x"]) + THICKNESS * row["size"] / 100
        row["label_y"] = max([row["y"] + rising + 0.1 * LINE, *(y + LINE for y in taken[-1:])])
        taken.append(row["label_y"])
    return pl.DataFrame(rows, infer_schema_length=None)


def draw_flow_diagram(stages: pl.DataFrame, models: list[str], columns: int) -> "alt.TopLevelMixin":
    """The diagram of all models, side by side on relative depth.

    Args:
        stages: rows of the table `stages`.
        models: in the order of the panels.
        columns: the largest number of panels side by side; 1 for a narrow figure.
    """
    from .marks.flow_diagram import draw_arrows
    from .marks.theme import draw_message

    known = [model for model in models if model in stages["model"]]
    stages = stages.filter(pl.col("model").is_in(known))
    lanes = lanes_of(stages)
    arrows = arrows_of(stages, lanes)
    if len(lanes) < 2:
        return draw_message(TITLE, known, "the study measures no edge between two segments of the diagram.")
    if stages["reason"].null_count() == 0:
        return draw_message(TITLE, known, f"no edge could be judged: {stages['reason'][0]}.")
    sizes = {row["model"]: row["layers"] for row in stages.select("model", "layers").unique().to_dicts()}
    headings = {model: f"{model} ({sizes[model]} layers)" for model in known}
    fitting = min(columns, len(known))
    while fitting > 1 and fitting * (NARROWEST * len(lanes) + AXIS) > WIDE:
        fitting -= 1
    lane = _lane(len(lanes), fitting) if columns > 1 else NARROW // len(lanes)
    segments = {model: _segments(stages.filter(pl.col("model") == model)) for model in known}
    layers = sizes[known[0]] if len(set(sizes.values())) == 1 else None
    return draw_arrows(arrows, lanes, segments, headings, _subtitle(stages, columns), fitting, lane, layers)


def _lane(lanes: int, side_by_side: int) -> int:
    """Pixels between two lanes, if so many panels are side by side."""
    if side_by_side <= 1:
        return LANE
    return max(NARROWEST, min(LANE, (WIDE // side_by_side - AXIS) // lanes))


def _subtitle(stages: pl.DataFrame, columns: int) -> list[str]:
    measured = stages.filter(pl.col("reason").is_null())
    window = measured["window"].unique().drop_nulls().sort().to_list()
    windows = f"windows of {', '.join(map(str, window))} layer{'s' if window != [1] else ''}" if window else ""
    sizes = measured["questions"]
    n = f"n = {min(sizes):,}" if len(sizes) else "n = 0"
    if len(sizes) and min(sizes) < max(sizes):
        n += f" to {max(sizes):,}"
    lines = [f"mean over the tasks; {n} questions per edge; {windows}"]
    return lines if columns > 1 else [lines[0].rsplit("; ", 1)[0], windows]
