"""Targets: every printed number is measured, checked by a test, or found by a reader; what is measured is compared."""

import os

import polars as pl
import pytest
from pydantic import ValidationError

from support.claim_rows import PlantedSource, as_published
from support.paths import ROOT
from vlmflow.claims.targets import Target, check_targets, paper_targets, targets_page

PAGE = ROOT / "docs" / "targets.md"
BEGIN, END = "<!-- begin -->\n", "<!-- end -->\n"
LAYERS = 40


def test_the_page_is_written_from_the_file():
    """`VLMFLOW_WRITE_TARGETS=1 pytest -n 0 tests/claims/test_targets.py` writes it."""
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    written = f"{before}{BEGIN}{targets_page()}\n{END}{after}"
    if os.environ.get("VLMFLOW_WRITE_TARGETS"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written


def test_every_target_is_found_somewhere():
    for name, target in paper_targets().items():
        if target.checked:
            assert (ROOT / target.checked).is_file(), name
        if target.measure is not None:
            assert target.value is not None or (target.above, target.below) != (None, None), name


@pytest.fixture(scope="module")
def sources():
    """Rows as the paper describes them, under the names of its studies and models."""
    drawn = as_published()
    for source in drawn.values():
        source.names = [*source.names, "llava-1.5-13b", "llava-v1.6-vicuna-13b"]
    accuracy = drawn.pop("accuracy")
    return {**drawn, "table-2": accuracy}


def test_numbers_that_agree_and_differ(sources):
    layers = dict.fromkeys(("llava-1.5-13b", "llava-v1.6-vicuna-13b"), LAYERS)
    table = check_targets("flow", sources, layers)
    found = {name: rows["verdict"].to_list() for (name,), rows in table.group_by("target", maintain_order=True)}
    assert found["T012"] == ["agrees"]
    assert found["T041"] == found["T052"] == ["agrees"] * 6
    assert found["T043"] == ["agrees"]
    assert found["T046"] == ["agrees"]
    others = {name: source for name, source in sources.items() if name != "flow"}
    others["flow"] = PlantedSource({"edge": ["image -> question"]}, {"layer": range(LAYERS)}, lambda *_: -1.0,
                                   models=["llava-1.5-13b"], tasks=("Other",))  # fmt: skip
    (row,) = check_targets("flow", others, layers).filter(target="T040").to_dicts()
    assert (row["verdict"], row["reason"]) == ("not measured", "the study has none of its tasks")
    assert found["T013"] == ["not measured"], "its model is not among the rows"
    appendix = check_targets("flow-appendix", sources, layers)
    assert set(
        appendix.filter(pl.col("target").is_in(["T070", "T081", "T090", "T091", "T092", "T093"]))["verdict"]
    ) == {"agrees"}
    without = {name: source for name, source in sources.items() if name != "norms"}
    (row,) = check_targets("flow-appendix", without, layers).filter(target="T081").to_dicts()
    assert (row["verdict"], row["reason"]) == ("not measured", "no claim of the study is judged on norms")


@pytest.mark.parametrize(
    ("given", "low", "high", "agrees"),
    [
        ({"value": -60, "about": 10}, -52, -48, True),
        ({"value": -60, "about": 10}, -49, -40, False),
        ({"value": 86.21}, 86.0, 86.5, True),
        ({"value": 86.21}, 86.3, 86.5, False),
        ({"above": 95}, 94, 96, True),
        ({"above": 95}, 90, 94, False),
        ({"below": 1}, 0.5, 2, True),
        ({"below": 1}, 1.5, 2, False),
    ],
)
def test_an_interval_agrees_with_a_number_or_a_bound(given, low, high, agrees):
    target = Target(source="s", what="w", unlisted="x", **given)
    assert target.agrees(low, high) is agrees


def test_a_target_that_is_found_nowhere_is_refused():
    with pytest.raises(ValidationError, match="measure, checked, unlisted: give one of them"):
        Target(source="s", what="w", value=1)
    with pytest.raises(ValidationError, match="model, study: a measure needs both"):
        Target(source="s", what="w", value=1, measure={"probe": "flow", "statistic": "mean"})


def test_studies_without_targets_have_no_rows(sources):
    assert len(check_targets("demo", sources, {"a": LAYERS})) == 0
