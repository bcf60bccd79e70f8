"""The figures of what suffices, of redundancy, of patches and of direct contributions."""

import polars as pl
import pytest

from support.frames import TASKS, drawn, interval, panels_of
from vlmflow.figures import (
    LogitAttributionChart,
    PatchingChart,
    PatchingHeadsChart,
    PathwayCellsChart,
    PathwayChart,
    PathwaySetsChart,
    RedundancyChart,
)
from vlmflow.probes import KnockoutProbe, LogitAttributionProbe, PatchingProbe, PathwayProbe

PROBE = PathwayProbe(
    kind="pathway",
    search={"blocks": 2},
    keep={"through the question": {"image -> question": "all"}, "image to last": {"image -> last": "all"}},
)
# The cells in the order of the search, and what flips if only the first n are kept; two are enough.
CELLS = (("question -> last", 5, 9), ("image -> question", 0, 4), ("image -> last", 0, 4))
FLIPS = {"search": (80.0, 60.0, 0.0, 0.0), "confirm": (90.0, 70.0, 4.0, 0.0)}


def rows_of(task):
    def row(half, keep, cells, cell, mean, quantity, smallest):
        edge, layer, until = cell or ("", -1, -1)
        about = {"task": task, "half": half, "keep": keep, "edge": edge, "layer": layer, "until": until}
        return interval(mean) | about | {"cells": cells, "quantity": quantity, "smallest": smallest}

    for half, flips in FLIPS.items():
        for cells, mean in enumerate(flips):
            cell = CELLS[cells - 1] if cells else None
            yield row(half, "path", cells, cell, mean, "flips", 0 < cells <= 2)
        for cell, margin in zip(CELLS[:2], (-6.0, -1.5), strict=True):
            yield row(half, "without", 1, cell, margin, "margin", True)
    for name, mean in (("through the question", 2.0), ("image to last", 95.0)):
        yield row("all", name, -1, None, mean, "flips", False)


def summary():
    return PathwayProbe.summary_table().frame([row for task in TASKS for row in rows_of(task)])


def test_the_smallest_set_is_drawn_as_arrows_from_its_sources_to_its_targets():
    figure = PathwayChart(chart="pathway", probe="p", title="T", measure="margin")
    found = drawn(summary(), figure, PROBE, "m", TASKS, columns=2).to_dict()
    (rows,) = found["datasets"].values()
    assert len(rows) == 2 * len(TASKS)
    early = next(row for row in rows if row["line"] == "image → question")
    late = next(row for row in rows if row["line"] == "question → last")
    assert (early["layers"], late["layers"]) == ("0–4", "5–9")
    assert -0.5 < early["x"] < 4.5 < late["x"] < 9.5
    assert early["source"] == 0
    assert 0.5 < early["neck"] < 1 == late["source"]  # in the order image, question, template, last
    assert (early["size"], late["size"]) == (1.5, 6.0)
    shaft = found["spec"]["layer"][0]["encoding"]
    assert shaft["x"]["scale"]["domain"] == [-0.5, 9.5]
    assert 'datum.value == 3 ? "last"' in shaft["y"]["axis"]["labelExpr"]


def test_the_table_gives_what_the_set_keeps_of_both_halves():
    figure = PathwayChart(chart="pathway", probe="p", title="T", measure="margin")
    (first, *_) = figure.effects(PROBE, summary()).rows
    named, search, confirm, none = first["cells"]
    assert named["value"] == "2 of 3"
    assert named["where"] == "image → question in layers 0–4, question → last in layers 5–9"
    assert (search["value"], confirm["value"], none["value"]) == ("100.0 %", "96.0 %", "10.0 %")
    low, high = confirm["interval"].strip("[]").split(", ")
    assert float(low) < 96 < float(high)
    assert "image → question in layers 0–4" in figure.sentence(PROBE, summary(), "m")


def test_nothing_is_needed_where_answers_stay_without_any_edge():
    rows = summary().filter(pl.col("keep") != "without").with_columns(smallest=pl.lit(False))
    figure = PathwayChart(chart="pathway", probe="p", title="T")
    text = str(drawn(rows, figure, PROBE, "m", TASKS, columns=2).to_dict())
    assert "nswers stay without any" in text
    assert "answers stay without any of these edges" in figure.sentence(PROBE, rows, "m")
    assert figure.effects(PROBE, rows).rows[0]["cells"][0]["value"] == "0 of 3"


def test_a_set_is_not_called_empty_because_its_measure_is_missing():
    rows = summary().filter(pl.col("quantity") == "flips")  # of questions without options, there is no margin
    figure = PathwayChart(chart="pathway", probe="p", title="T", measure="margin")
    assert "without any" not in figure.sentence(PROBE, rows, "m")
    assert "nothing that the figure shows could be measured" in figure.sentence(PROBE, rows, "m")


def test_cells_are_removed_from_right_to_left():
    figure = PathwayCellsChart(chart="pathway-cells", probe="p", title="T", measure="flips")
    chart = drawn(summary(), figure, PROBE, "m", TASKS, columns=2)
    (rows,) = chart.to_dict()["datasets"].values()
    lines = {row["line"] for row in rows}
    assert lines == {"images of the search", "other images"}
    shown = {row["x"]: row["mean"] for row in rows if row["line"] == "other images" and "First" in row["panel"]}
    assert shown == dict(enumerate(FLIPS["confirm"]))
    assert all("smallest: 2 of 3" in panel for panel in panels_of(chart))
    words = figure.sentence(PROBE, summary(), "m")
    assert "largest effect with a smallest set: 4.0 % [3.0, 5.0] on the other images, in Second (2 of 3 kept)." in words


def test_sets_are_points_from_those_of_the_study_to_none():
    figure = PathwaySetsChart(chart="pathway-sets", probe="p", title="T", measure="flips")
    found = drawn(summary(), figure, PROBE, "m", TASKS, columns=2).to_dict()
    names = found["spec"]["layer"][1]["encoding"]["y"]["sort"]
    assert names == [
        "through the question",
        "image to last",
        "smallest set, images of the search",
        "smallest set, other images",
        "none, other images",
    ]
    (rows,) = found["datasets"].values()
    means = {row["line"]: row["mean"] for row in rows if "First" in row["panel"]}
    assert [means[name] for name in names] == [2.0, 95.0, 0.0, 4.0, 90.0]


@pytest.mark.parametrize("kind", [PathwayChart, PathwayCellsChart])
def test_a_probe_without_a_search_has_no_smallest_set(kind):
    probe = PathwayProbe(kind="pathway", keep=PROBE.keep)
    with pytest.raises(ValueError, match=r"figures.f.probe: the probe 'p' has no search; give it one"):
        kind(chart=kind.kind(), probe="p").check(probe, "f")


# --- redundancy ---

PAIR = "question -> last + image -> last"


def test_the_redundancy_of_edges_is_a_line():
    probe = KnockoutProbe(kind="knockout", window=3, edges=["question -> last", "image -> last", PAIR])
    rows = [
        interval(index, 0.1)
        | {"task": task, "edge": edge, "window": 3, "layer": layer, "quantity": quantity, "multi_token_answers": 0}
        for task in TASKS
        for layer, index in enumerate((0.1, 0.9, -0.5))
        for edge, quantity in ((PAIR, "redundancy"), (PAIR, "margin"), ("image -> last", "margin"))
    ]
    figure = RedundancyChart(chart="redundancy", probe="p", title="T")
    table = KnockoutProbe.summary_table().frame(rows)
    (shown,) = drawn(table, figure, probe, "m", TASKS, columns=2).to_dict()["datasets"].values()
    assert {row["line"] for row in shown} == {"question ↛ last + image ↛ last"}
    assert len(shown) == 3 * len(TASKS)
    assert "+0.90" in figure.sentence(probe, table, "m")
    assert "at layer 1" in figure.sentence(probe, table, "m")


def test_redundancy_needs_the_edges_alone():
    probe = KnockoutProbe(kind="knockout", window=3, edges=["question -> last", PAIR])
    with pytest.raises(ValueError, match=r"figures.f.probe: the probe 'p' has no edges that are knocked out together"):
        RedundancyChart(chart="redundancy", probe="p", title="T").check(probe, "f")


# --- patches and direct contributions ---


def patches():
    rows = []
    for task in TASKS:
        for site, heads in (("input", [-1]), ("head", [0, 1])):
            for segment in ("question", "last"):
                for head in heads:
                    for layer in range(3):
                        mean = 100.0 * (layer == 1) * (segment == "last") * (head != 0)
                        about = {"task": task, "direction": "noise", "site": site, "segment": segment, "window": 1}
                        about |= {"head": head, "layer": layer, "quantity": "towards"}
                        rows.append(interval(mean, 0.05) | about | {"first_half": mean, "second_half": mean + layer})
    return PatchingProbe.summary_table().frame(rows)


def test_patches_are_lines_of_segments():
    probe = PatchingProbe(kind="patching", segments=["question", "last"], sites=["input", "head"])
    figure = PatchingChart(chart="patching", probe="p", title="T")
    (shown,) = drawn(patches(), figure, probe, "m", TASKS, columns=2).to_dict()["datasets"].values()
    assert {(row["line"], row["x"]): row["mean"] for row in shown if "First" in row["panel"]}["last", 1] == 100
    assert len(shown) == 2 * 3 * len(TASKS)
    assert "last moves the answer most at layer 1, " in figure.sentence(probe, patches(), "m")
    assert "another image in the question's own run (noise)" in figure.caption(probe)
    alone = PatchingProbe(kind="patching", sites=["head"])
    with pytest.raises(ValueError, match=r"figures.f.chart: the probe 'p' patches only single heads"):
        figure.check(alone, "f")


def test_patched_heads_are_a_heat_map_with_the_strongest_as_a_table():
    probe = PatchingProbe(kind="patching", segments=["question", "last"], sites=["head"])
    figure = PatchingHeadsChart(chart="patching-heads", probe="p", title="T")
    found = drawn(patches(), figure, probe, "m", TASKS, columns=2).to_dict()
    (shown,) = found["datasets"].values()
    assert len(shown) == 2 * 2 * 3 * len(TASKS)
    of_last = next(row for row in figure.effects(probe, patches()).rows if "last" in row["task"])
    assert of_last["cells"][0]["where"] == "head 1 of layer 1"
    assert of_last["cells"][0]["value"] == "100.0 %"
    with pytest.raises(ValueError, match=r"figures.f.probe: the probe 'p' patches no single heads"):
        figure.check(PatchingProbe(kind="patching"), "f")


def test_direct_contributions_of_heads_and_of_the_mlp():
    rows = []
    for task in TASKS:
        for part, head in (("head", 0), ("head", 1), ("mlp", -1), ("attention", -1)):
            for layer in range(3):
                mean = 3.0 * (layer == 2) * (part == "mlp") - 1.0 * (head == 1)
                about = {"task": task, "part": part, "head": head, "layer": layer, "quantity": "margin"}
                rows.append(
                    interval(mean, 0.05) | about | {"key_head": head, "first_half": mean, "second_half": mean + layer}
                )
    table = LogitAttributionProbe.summary_table().frame(rows)
    probe = LogitAttributionProbe(kind="logit-attribution")
    figure = LogitAttributionChart(chart="logit-attribution", probe="p", title="T", quantity="margin")
    found = drawn(table, figure, probe, "m", TASKS, columns=2).to_dict()
    assert found["spec"]["layer"][0]["encoding"]["y"]["sort"] == ["0", "1", "MLP"]
    (shown,) = found["datasets"].values()
    assert len(shown) == 3 * 3 * len(TASKS)
    assert figure.effects(probe, table).rows[0]["cells"][0]["where"].startswith("head 0 of layer")  # heads alone
    assert "adds to the margin between the options most in head 0 of layer" in figure.sentence(probe, table, "m")
