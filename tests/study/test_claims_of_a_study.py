"""Claims in the study file: what is accepted, what is said about mistakes, and which studies have which."""

import textwrap
from typing import get_args

import pytest
import yaml

from support.paths import ROOT
from support.studies import changed_demo
from vlmflow.claims.declared import Statistic, StudyClaim, paper_claims
from vlmflow.errors import StudyError
from vlmflow.study import read_study
from vlmflow.study.claims import sources_of_claims

STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
TEST = {"probe": "flow", "statistic": "mean", "where": {"edge": "image -> last"}, "above": 0}
OWN = {"text": "A sentence.", "tests": [TEST]}


def with_claims(claims):
    return read_study(changed_demo("claims", claims), "mine.yaml")


def refusal(claims):
    with pytest.raises(StudyError) as error:
        with_claims(claims)
    text = str(error.value)
    assert text.startswith("mine.yaml has 1 mistake(s):"), text
    return text


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"F4": {}}, "claims.F4: there is no claim 'F4' of the papers; choose from F01, F01-own"),
        ({"x": {"claim": "F99"}}, "claims.x: there is no claim 'F99' of the papers"),
        (
            {"F04": {"probes": {"flow": "nowhere"}}},
            "claims.F04.probes.flow: there is no probe 'nowhere'; choose from flow",
        ),
        (
            {"F04": {"probes": {"flow": "tracking"}}},
            "claims.F04.probes.flow: the rows of 'tracking' have no column 'edge'",
        ),
        ({"F04": {"probes": {"folw": "flow"}}}, "claims.F04.probes.folw: this claim has no such probe; it has flow"),
        ({"F43": {"probes": {"fine-grained": "flow"}}}, "the probe 'flow' does not measure edge 'true option -> last'"),
        ({"F19": {}}, "claims.F19.second_model: this key is missing; the claim compares two models"),
        ({"F19": {"second_model": "big"}}, "claims.F19.second_model: there is no model 'big'; choose from tiny-llava"),
        ({"F04": {"models": ["big"]}}, "claims.F04.models: there is no model 'big'"),
        ({"F04": {"tasks": ["Chose"]}}, "claims.F04.tasks: there is no task 'Chose'; choose from ChooseAttr"),
        ({"F39": {}}, "claims.F39: it combines the claim 'F03', which the study does not have; add it"),
        ({"F04": {"where": {"promt": "x"}}}, "claims.F04.where: no probe of this claim has rows with a column 'promt'"),
        ({"F04": {"where": {"window": 99}}}, "claims.F04.where: nothing is measured with window 99; choose from 3"),
        ({"F04": {"against": {"window": 3}}}, "claims.F04.against: this claim compares no two lines; remove this key"),
        ({"x": {"own": OWN | {"each": ["taks"]}}}, "claims.x.own.each: no probe of this claim has rows with a column"),
        ({"x": {"own": OWN | {"values": {"window": [1]}}}}, "claims.x.own: values.window: there are verdicts for"),
        ({"x": {"own": OWN | {"tests": [TEST | {"probe": None}]}}}, "claims.x.own: tests.0.probe: this key is missing"),
        (
            {"F19": {"models": ["tiny-llava"], "second_model": "tiny-llava"}},
            "claims.F19.second_model: it is the only model; it cannot be compared with itself",
        ),
        ({"F04": {"windw": 3}}, "claims.F04.windw: there is no such key here"),
        (
            {"F04": {"second_model": "tiny-llava"}},
            "claims.F04.second_model: this claim compares no two models; remove this key",
        ),
        ({"F12": {"tasks": ["ChooseAttr"]}}, "claims.F12.tasks: each test of this claim names its own tasks"),
        ({"F04": {"values": {"window": [3]}}}, "claims.F04.values.window: there are verdicts for values of task alone"),
        ({"F04": {"where": {"layer": "five"}}}, "claims.F04.where: layer 'five': this column has numbers"),
        (
            {"x": {"own": OWN | {"tasks": ["Chose"]}}},
            "claims.x.tasks: there is no task 'Chose'; choose from ChooseAttr",
        ),
        (
            {"x": {"own": OWN | {"tests": [TEST | {"tasks": ["ChooseAttr", "Bb"]}]}}},
            "claims.x.tasks: there is no task 'Bb'",
        ),
        (
            {"x": {"own": OWN | {"each": ["edge"], "values": {"edge": ["image -> last", "c -> dd"]}}}},
            "claims.x.own.values: nothing is measured with edge 'c -> dd'; choose from",
        ),
        (
            {"x": {"own": OWN | {"tests": [TEST | {"trend_over": "windw"}]}}},
            "claims.x.own.tests: no probe of this claim has rows with a column 'windw'",
        ),
        (
            {"x": {"own": OWN | {"tests": [TEST | {"probe": "tracking", "where": {"word": "lowercse answer"}}]}}},
            "the probe 'tracking' does not measure word 'lowercse answer', but capitalised answer, lowercase answer",
        ),
        ({"x": {"own": OWN | {"tests": [TEST | {"above": float("nan")}]}}}, "claims.x.own.tests.0.above"),
        ({"x": {"own": OWN | {"pairs": True}}}, "claims.x.own: pairs: no line has `model: second`"),
        ({"x": {"own": OWN, "claim": "F04"}}, "claims.x: give either claim, a name, or own, a declaration"),
        ({"x": {"own": OWN | {"tests": []}}}, "claims.x.own: tests, all_of: give one of the two"),
        (
            {"x": {"own": OWN | {"tests": [TEST | {"below": 3}]}}},
            "claims.x.own.tests.0: above, below, within",
        ),
        (
            {"x": {"own": OWN | {"tests": [TEST | {"statistic": "lowst"}]}}},
            "claims.x.own.tests.0.statistic: Input should be 'mean', 'share'",
        ),
    ],
)
def test_mistakes_are_named_before_any_job(claims, message):
    assert message in refusal(claims)


def test_lines_without_a_probe_are_of_their_tests_probe():
    minus = {"statistic": "value", "where": {"word": "lowercase answer"}, "at": 1}
    second = {
        "probe": "tracking",
        "statistic": "highest",
        "where": {"word": "lowercase answer"},
        "minus": minus,
        "above": 0,
    }
    study = with_claims({"mine": {"own": OWN | {"tests": [TEST, second]}}})
    assert sources_of_claims(study) == ["flow", "tracking"]


def test_a_claim_of_a_users_own_is_accepted():
    study = with_claims({"mine": {"own": OWN}})
    assert sources_of_claims(study) == ["flow"]
    assert study.claims["mine"].declared("mine").text == "A sentence."


def test_settings_of_the_study_replace_those_of_the_paper():
    claim = with_claims({"F24": {"tasks": ["ChooseRel"]}}).claims["F24"].declared("F24")
    assert claim.tasks == ["ChooseRel"]
    assert paper_claims()["F24"].tasks != claim.tasks


def test_claims_are_judged_on_answers_and_tables_too():
    study = read_study(yaml.safe_load((ROOT / "studies" / "flow.yaml").read_text()), "flow.yaml")
    assert sources_of_claims(study) == ["answers", "table-2", "flow", "tracking"]


def test_the_studies_of_the_papers_have_every_claim_of_the_papers():
    named = set()
    for path in STUDIES:
        study = read_study(yaml.safe_load(path.read_text()), path.name)
        named |= {entry.claim or name for name, entry in study.claims.items() if entry.own is None}
    assert named == set(paper_claims())


# The sentences of each paper's abstract and conclusion, as the claims that stand for them.
ABSTRACTS = {
    "flow": ["F04", "F07", "F08", "F14", "F15", "F16", "F20", "F23", "F53-objects"],
    "phase": ["P01", "P02", "P03", "P04", "P05", "P06", "P07", "P11"],
    "thesis": ["T01", "T02", "T03", "T04", "T05", "T06", "T07", "T08", "T09", "T10", "T11", "T12"],
}
DEMOS = ["config.yaml", "studies/demo-appendix.yaml", "studies/demo-phase.yaml", "studies/demo-causal.yaml"]


@pytest.mark.parametrize("paper", ABSTRACTS)
def test_every_sentence_of_an_abstract_is_judged_on_a_demo(paper):
    studies = [read_study(yaml.safe_load((ROOT / demo).read_text()), demo) for demo in DEMOS]
    judged = {entry.claim or name for study in studies for name, entry in study.claims.items()}
    assert set(ABSTRACTS[paper]) <= judged
    assert {paper_claims()[name].paper for name in ABSTRACTS[paper]} == {paper}
    told = [name for name, claim in paper_claims().items() if claim.paper == paper and "abstract" in claim.source]
    assert set(told) <= set(ABSTRACTS[paper])


def test_the_example_of_the_documentation_is_valid_and_every_statistic_is_explained():
    text = (ROOT / "docs" / "claims.md").read_text()
    example = yaml.safe_load(textwrap.dedent(text.split("    claims:\n")[1].split("\n`workflow_scripts")[0]))
    declared = {name: StudyClaim.model_validate(entry).declared(name) for name, entry in example.items()}
    assert declared["mine"].tests[0].minus.where == {"edge": "false option -> last"}
    assert declared["F31"].models == ["llava-1.5-13b"]
    assert [name for name in get_args(Statistic) if f"`{name}`" not in text] == []
    known = ("papers.yaml", "claims.parquet", "claims.csv")
    assert all(name in text for name in known)
