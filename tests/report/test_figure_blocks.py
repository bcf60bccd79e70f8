"""The figures of the report as a page holds them: each sentence and each table of curves once."""

import pytest

from support.image_frames import BUDGET_PROBE
from vlmflow.report.figure_blocks import FigureFiles, chapters
from vlmflow.study import Study


def study_with(**more):
    figure = {"chart": "budget", "probe": "tokens", "title": "Tokens"}
    return Study.model_validate(
        {
            "study": "s",
            "dataset": {"source": "synthetic"},
            "tasks": {name: {"structural": "query", "semantic": "attr"} for name in ("other", "first")},
            "models": {"m": {"path": "x/y"}},
            "probes": {"tokens": BUDGET_PROBE.model_dump(mode="json")},
            "figures": {"tokens": figure, "again": figure | {"by": "prompt", "title": "Again"}},
        }
        | more
    )


@pytest.fixture
def blocks_of(tmp_path, budget_summary, knee_table):
    """The variants of the figures of a study."""

    def blocks_of(study, told=()):
        for name in study.figures:
            (tmp_path / name).mkdir(exist_ok=True)
            for ending in (".svg", "-narrow.svg"):
                (tmp_path / name / f"m{ending}").write_text("<svg/>")
        files = FigureFiles(tmp_path, {name: ["m"] for name in study.figures})
        (chapter,) = chapters(study, {"tokens": budget_summary}, {"tokens": knee_table}, files, told)
        return [variant for block in chapter["figures"] for variant in block["variants"]]

    return blocks_of


def test_a_sentence_and_the_curves_are_told_once(blocks_of, knee_table):
    first, again = blocks_of(study_with())
    assert list(first["sentences"]) == ["m"]
    assert again["sentences"] == {}
    assert first["curves"]["count"] == len(knee_table)
    assert ("Model", "m") in first["curves"]["shown"]["alike"]
    assert again["curves"] is None


def test_what_stands_elsewhere_on_the_page_is_not_repeated(blocks_of):
    first, _ = blocks_of(study_with())
    (sentence,) = first["sentences"].values()
    told, _ = blocks_of(study_with(), [sentence])
    assert told["sentences"] == {}
    assert told["effects"].rows == first["effects"].rows


def test_a_table_of_the_study_is_named_and_not_repeated(blocks_of):
    table = {"table": "curve-features", "probe": "tokens", "title": "Knees of the loss"}
    first, again = blocks_of(study_with(tables={"knees": table}))
    assert first["curves"] == {"table": "knees", "title": "Knees of the loss"}
    assert again["curves"] is None
