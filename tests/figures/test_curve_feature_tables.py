"""Phases and knees as tables, and as pages of the report."""

from html import escape

import polars as pl
import pytest

from vlmflow.figures import curve_feature_rows
from vlmflow.figures.curve_feature_tables import without_alike
from vlmflow.report.tables import curve_features_page

EVIL = "</script><b>"


def test_a_table_of_phases_has_a_row_per_phase(phase_table):
    rows = curve_feature_rows("similarity", phase_table)
    assert len(rows) == len(phase_table)
    assert rows.row(0, named=True) == {
        "Model": "m",
        "Task": "other",
        "Prompt": "question",
        "Phases supported": "4 (in 91 % of the resamples)",
        "Phase": "1 of 4",
        "Name": "alignment",
        "After layers": "−1 to 1",
        "Begins, 95 % interval": "–",
        "Image and text, change per layer": "−0.010",
        "Within image": "0.002",
        "Within text": "0.000",
        "Questions": 7,
        "Images": 5,
    }
    assert rows["Begins, 95 % interval"][1] == "[1, 3]"
    assert rows["Phase"].to_list()[-6:] == ["1 of 2", "2 of 2", "1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert curve_feature_rows("similarity", phase_table.clear()).columns == rows.columns


def test_a_table_of_knees_has_dashes_where_there_is_none(knee_table):
    rows = curve_feature_rows("budget", knee_table)
    there, absent, _ = rows.to_dicts()
    assert there == {
        "Model": "m",
        "Task": "other",
        "Prompt": "question",
        "Kept": "first",
        "Knee, tokens": "8",
        "95 % interval": "[4, 16]",
        "Resamples with a knee, %": "88",
        "Enough for 95 % of the decrease, tokens": "32 [16, 64]",
        "Loss without the image, nats per token": "4.00",
        "Loss at the knee": "2.80",
        "Loss with all tokens": "1.90",
        "Questions": 7,
        "Images": 5,
    }
    dashes = {"Knee, tokens": "–", "95 % interval": "–", "Loss at the knee": "–", "Resamples with a knee, %": "12"}
    assert absent == there | dashes | {"Kept": "spread"}


@pytest.mark.parametrize("kind", ["similarity", "budget"])
def test_a_page_of_curve_features_holds_all_cells_and_no_markup_of_data(phase_table, knee_table, kind):
    found = (phase_table if kind == "similarity" else knee_table).with_columns(
        model=pl.lit(EVIL), prompt=pl.lit("a & b")
    )
    rows = curve_feature_rows(kind, found)
    page = curve_features_page(rows, f"Title {EVIL}")
    assert EVIL not in page
    assert page.count("&lt;/script&gt;&lt;b&gt;") == 3, "once for all rows, in the title and the heading"
    assert f"The same in all rows: Model {escape(EVIL)}; Prompt a &amp; b; " in page
    shown = without_alike(rows)
    assert {"Model", "Prompt", "Questions"} < set(rows.columns) - set(shown["columns"])
    assert page.count("<tr>") == len(rows) + 1
    assert page.count("<td ") == len(rows) * len(shown["columns"])
    dashes = sum(rows.select(shown["columns"]).select(pl.col(pl.String) == "–").sum().row(0))
    assert page.count(">–</td>") == dashes > 0
    assert all(f"<th>{column}</th>" in page for column in shown["columns"])
    alone = curve_features_page(rows.head(1), "Title")
    assert "in all rows" not in alone
    assert alone.count("<td ") == len(rows.columns)
    assert "None" not in page
    assert "null" not in page
