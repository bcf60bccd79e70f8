"""The first screen, claims by model, what was left out, the facts of a study, and tables as text."""

import json
import re
import subprocess

import polars as pl
import pytest

from vlmflow.analysis.stages import STAGES
from vlmflow.data.sampling import NotDrawn, Wrong
from vlmflow.report.claims_matrix import claims_matrix, figures_of
from vlmflow.report.first_screen import VERDICTS, first_screen, overview
from vlmflow.report.formats import latex, markdown
from vlmflow.report.left_out import left_out
from vlmflow.report.methods import commit, knockouts_text
from vlmflow.report.template_environment import unbroken
from vlmflow.study import Study
from vlmflow.tables import ACCURACY, SKIPPED

EDGES = ["image -> question", "question -> last", "image -> last"]


def stage(edge, number, layer, effect, low=None, high=None, model="m"):
    place = {"layer": layer, "layer_low": layer if low is None else low, "layer_high": layer if high is None else high}
    extent = {"first_layer": layer, "last_layer": layer, "layers": 32, "window": 9, "stage": number}
    sizes = {"tasks": ["T"], "questions": 9, "images": 9, "reason": None, "probe": "flow"}
    return (
        {"model": model, "edge": edge, "effect": effect, "low": effect - 2, "high": effect + 2} | place | extent | sizes
    )


@pytest.fixture
def stages():
    return STAGES.frame(
        [
            stage(EDGES[0], 1, 2, -60.0, 1, 3),
            stage(EDGES[0], 2, 10, -21.0),
            stage(EDGES[1], 1, 15, -40.0),
            stage(EDGES[2], 0, 15, -0.5),
        ]
    )


def verdicts(**columns):
    row = {"claim": "F1", "paper": "flow", "source": "s", "text": "It flows.", "printed": "", "model": "m"}
    row |= {"second_model": None, "verdict": "supported", "scopes": "1 of 2", "scope": "T", "test": "lowest of flow"}
    row |= {"rule": "below -5", "estimate": -20.123, "low": -30.0, "high": -10.0, "reason": None}
    return row | columns


def test_the_first_screen_says_where_the_image_enters(stages):
    (shown,) = first_screen(["m"], stages, None)
    assert shown["layers"] == 32
    assert [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in shown["sentences"]] == [
        "The image enters the question in two stages: −60.0 % [−62.0, −58.0] around layer 2 [1, 3] and −21.0 % "
        "[−23.0, −19.0] around layer 10.",
        "The question reaches the answer: −40.0 % [−42.0, −38.0] around layer 15.",
        "It is open whether the image reaches the answer directly: −0.5 % [−2.5, +1.5] around layer 15.",
    ]
    sure = stages.with_columns(low=pl.when(edge=EDGES[2]).then(-0.8).otherwise("low"))
    (shown,) = first_screen(["m"], sure, None)
    assert shown["sentences"][2].startswith(
        "The image does not reach the answer directly (less than 1\N{NO-BREAK SPACE}%)"
    )
    (shown,) = first_screen(["m"], stages.with_columns(reason=pl.lit("there are only 3 images")), None)
    assert shown["sentences"] == ["No edge could be judged: there are only 3 images."]
    captions = stages.with_columns(pl.col("edge").str.replace("image", "caption"))
    (shown,) = first_screen(["m"], captions, None)
    assert [sentence.split(":")[0] for sentence in shown["sentences"]] == [
        "The captions enter the question in two stages",
        "The question reaches the answer",
        "It is open whether the captions reach the answer directly",
    ]


def test_of_several_models_the_number_with_each_flow_is_said(stages):
    assert overview(stages) == []
    other = stages.with_columns(model=pl.lit("n"), stage=pl.lit(0), low=pl.lit(-0.5))
    assert overview(pl.concat([stages, other.cast(stages.schema)])) == [
        "The image enters the question in 1 of 2 models.",
        "The question reaches the answer in 1 of 2 models.",
        "The image reaches the answer directly in 0 of 2 models (open in 1).",
    ]


def test_the_first_screen_has_the_numbers_of_questions():
    rows = [
        {"model": "m", "task": task, "asked": 600, "correct": correct, "analysed": 500, "accuracy": None}
        for task, correct in (("T", 590), ("S", 560), ("described", None))
    ]
    (shown, other) = first_screen(["m", "n"], None, None, None, ACCURACY.frame(rows))
    assert shown["questions"] == "1,150 of 1,200 answers correct, 1,500 analysed"
    assert other["questions"] == ""


def test_the_first_screen_counts_verdicts_and_names_what_is_contradicted(stages):
    rows = [verdicts(claim=f"F{number}", verdict=VERDICTS[number % 2]) for number in range(12)]
    (shown,) = first_screen(["m"], stages, pl.DataFrame(rows))
    assert {part["verdict"]: part["count"] for part in shown["strip"]} == {"supported": 6, "contradicted": 6}
    assert shown["sentences"][-1] == (
        "Contradicted claims: “It flows” (F1, supported in 1 of 2 tests); “It flows” (F3, supported in 1 of 2 tests); "
        "“It flows” (F5, supported in 1 of 2 tests); and 3 more."
    )
    many = first_screen(["m", "n", "o"], stages, pl.DataFrame(rows))
    assert not any("Contradicted" in sentence for each in many for sentence in each["sentences"])
    (without,) = first_screen(["m"], None, pl.DataFrame(rows), {"m": "Seen."})
    assert without["sentences"][0] == "Seen."
    assert [sentence[:29] for sentence in without["sentences"][1:]] == [
        "Supported claims: “It flows” ",
        "Contradicted claims: “It flow",
    ]
    (whole,) = first_screen(["m"], None, pl.DataFrame([verdicts(scopes="2 of 2")]), {"m": "Seen."})
    assert whole["sentences"][1:] == ["Supported claims: “It flows” (F1)."]
    (bare,) = first_screen(["m"], None, pl.DataFrame(rows))
    assert bare["sentences"][0] == "Supported: It flows (lowest of flow: −20.1 [−30, −10])."
    assert len(bare["sentences"]) == 3
    (nothing,) = first_screen(["other"], stages, pl.DataFrame(rows))
    assert (nothing["sentences"], nothing["strip"], nothing["layers"]) == ([], [], None)


def study(**more):
    return Study.model_validate(
        {
            "study": "s",
            "dataset": {"source": "synthetic"},
            "tasks": {"T": {"structural": "query", "semantic": "attr"}},
            "models": {"m": {"path": "/home/somebody/private/model"}, "n": {"path": "x/y"}},
            "probes": {"flow": {"kind": "knockout", "window": 3, "edges": EDGES}, "tracking": {"kind": "lens"}},
            "figures": {
                "a": {"chart": "flow", "probe": "flow", "edges": EDGES[:1]},
                "b": {"chart": "flow", "probe": "flow", "edges": EDGES[1:]},
                "c": {"chart": "lens", "probe": "tracking"},
            },
            "claims": {"F04": {}, "F06": {}},
        }
        | more
    )


def test_a_claim_leads_to_its_figures_and_questions():
    asked = study()
    assert figures_of(asked, "F04") == ["b"]
    rows = [
        verdicts(claim="F04", model="m", verdict="contradicted"),
        verdicts(claim="F04", model="n"),
        verdicts(claim="F06", model="m", estimate=None, reason="no"),
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    four, six = claims_matrix(asked, table, with_explorer=True)
    assert four["verdicts"] == {"m": "contradicted", "n": "supported"}
    assert four["rows"][0]["shown"] == "−20.1 [−30, −10]"
    assert four["rows"][0]["questions"] == "model=m&task=T&edge=question+-%3E+last&sort=effect"
    assert six["rows"][0]["questions"] is None
    assert claims_matrix(asked, table, with_explorer=False)[0]["rows"][0]["questions"] is None


def test_of_a_pair_of_models_the_verdict_that_is_furthest_from_support_is_shown():
    rows = [
        verdicts(claim="F04", second_model=other, verdict=each) for other, each in zip("ab", VERDICTS, strict=False)
    ]
    (four,) = claims_matrix(study(), pl.DataFrame(rows), with_explorer=False)
    assert four["verdicts"] == {"m": "contradicted"}


def test_what_was_not_drawn_is_apart_from_what_was_dropped():
    about = {"task": "T", "model": "m", "what": ""}
    rows = [
        *({"question_id": str(n), "stage": "selected", "reason": each} | about for n, each in enumerate(NotDrawn)),
        {"question_id": "7", "stage": "selected", "reason": str(Wrong.OTHER)} | about,
        *({"question_id": str(n), "stage": "images", "reason": f"image {n}.jpg is missing"} | about for n in range(3)),
        {"question_id": "0", "stage": "flow", "reason": "no boxes"} | about | {"what": "image -> last", "model": "n"},
    ]
    shown = left_out(SKIPPED.frame(rows))
    assert (shown["dropped_total"], shown["dropped_questions"], shown["not_drawn_total"]) == (4, 3, len(NotDrawn) + 1)
    first, second = shown["dropped"]
    assert (first["count"], first["kinds"], first["stage"]) == (3, 3, "images")
    assert first["by_model"] == [{"model": "m", "tasks": [("T", 3)]}]
    assert (second["reason"], second["parts"]) == ("no boxes", ["image -> last"])
    assert left_out(SKIPPED.frame([]))["dropped"] == []
    about |= {"stage": "flow", "reason": "no boxes"}
    several = [
        about | {"question_id": "1", "model": model, "task": task} for model, task in ("aT", "bT", "bS", (None, None))
    ]
    (row,) = left_out(SKIPPED.frame(several))["dropped"]
    assert row["by_model"] == [
        {"model": "a", "tasks": [("T", 1)]},
        {"model": "b", "tasks": [("T", 1), ("S", 1)]},
        {"model": None, "tasks": [(None, 1)]},
    ]


def test_a_reason_of_many_edges_is_one_row_with_its_questions():
    about = {"task": "T", "model": "m", "stage": "atlas"}
    edges = [f"{segment} -> last" for segment in ("options", "true option", "false option")]
    rows = [
        about | {"question_id": f"{n}", "what": edge, "reason": f"this prompt has no '{edge[:7]}': built without"}
        for n in range(5)
        for edge in edges
    ]
    (row,) = left_out(SKIPPED.frame(rows))["dropped"]
    assert (row["count"], row["kinds"], row["parts"]) == (15, 3, edges)
    assert row["by_model"] == [{"model": "m", "tasks": [("T", 5)]}]


def test_knockouts_are_described():
    assert knockouts_text(study()) == ["flow: 3 edges, windows of 3 layers around every layer"]


def test_the_commit_is_that_of_the_workflow_or_none(tmp_path, monkeypatch):
    known = commit()
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True, check=False).returncode == 0
    assert (known is not None) == inside
    assert known is None or re.fullmatch("[0-9a-f]{40}", known["id"])
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert commit() is None


def test_intervals_stay_on_one_line():
    text = "−1 % [−2, 3] in layer 4 [3, 5], a [b c, d]"
    assert unbroken(text).replace("\xa0", "~") == "−1 %~[−2,~3] in layer~4~[3,~5], a [b c, d]"


def test_tables_as_text():
    table = pl.DataFrame({"a_name": ["x|y", "<b>_&%", None], "value": [1.0, -0.123456, 12345.678], "n": [1, 2, 3]})
    written = markdown(table).splitlines()
    assert len(written) == 5
    assert "x\\|y" in written[2]
    assert "&lt;b>" in written[3]
    assert [cell.strip() for cell in written[3].split("|")[2:4]] == ["−0.1235", "2"]
    tex = latex(table)
    assert "\\toprule" in tex
    assert "\\&\\%" in tex
    assert "\\_" in tex
    assert "-0.1235" in tex
    assert "a name" in tex
    assert markdown(table.clear()).count("\n") == 2
    assert json.dumps(markdown(table)) == json.dumps(markdown(table))
