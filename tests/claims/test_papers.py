"""The claims of the papers: on means as the papers describe them, each is supported.

benchmarks/claims.py and tests/slow/test_claims_without_flow.py ask how often they are where nothing flows.
"""

import polars as pl
import pytest

from support.claim_rows import TASKS, PlantedSource, as_published, bump, entry, step
from vlmflow.claims.declared import paper_claims
from vlmflow.claims.judge import CLAIMS, judge

TESTED = [name for name, claim in paper_claims().items() if claim.tests]
# Claims on a model that differs from the others, so that no rows support all of them.
OTHER_MODELS = {"F41", "F42"}
LAYERS = 40


@pytest.fixture(scope="module")
def published():
    sources = as_published()
    captions = sources["captions"]
    captions.names = ["reader"]
    return sources


def verdicts(sources, names, layers=40):
    judged = judge({name: entry(name) for name in names}, sources, dict.fromkeys(("a", "small", "reader"), layers),
                   ["a", "small", "reader"])  # fmt: skip
    return CLAIMS.frame(judged)


@pytest.mark.parametrize("name", [name for name in TESTED if name not in OTHER_MODELS])
def test_a_claim_is_supported_by_means_as_its_paper_describes_them(published, name):
    rows = verdicts(published, [name])
    told = ("scope", "test", "rule", "estimate", "low", "high", "verdict", "reason")
    wrong = rows.filter(pl.col("claim_verdict") != "supported").select(told)
    with pl.Config(fmt_str_lengths=90, tbl_rows=20, tbl_width_chars=220, tbl_cols=10):
        assert len(wrong) == 0, str(wrong)
    assert len(rows) > 0


@pytest.fixture(scope="module")
def of_llama():
    """One drop, in which other patches come first and related ones second; no lowercase stage."""

    def knockout(model, task, edge, layer):
        depth = layer / LAYERS
        early, late = -40 * bump(depth, 0.1, 0.08), -30 * bump(depth, 0.24, 0.08)
        return {"other patches -> question": early, "related patches -> question": late}.get(edge, early + late)

    def lens(model, task, word, layer):
        return 0.6 * step((layer + 1) / LAYERS, 0.7) if word == "capitalised answer" else 0.005

    edges = [f"{source} -> question" for source in ("image", "other patches", "related patches")]
    words = ["lowercase answer", "capitalised answer"]
    return {
        "flow": PlantedSource({"edge": edges}, {"layer": range(LAYERS)}, knockout, noise=0.5, tasks=TASKS),
        "tracking": PlantedSource({"word": words}, {"layer": range(-1, LAYERS)}, lens, noise=0.01, tasks=TASKS),
    }


@pytest.mark.parametrize("name", sorted(OTHER_MODELS))
def test_what_is_claimed_of_the_model_that_differs(of_llama, published, name):
    assert set(verdicts(of_llama, [name])["claim_verdict"]) == {"supported"}
    assert set(verdicts(published, [name])["claim_verdict"]) == {"contradicted"}


@pytest.mark.parametrize("name", ["F08", "F11", "F13"])
def test_a_second_drop_is_not_found_on_the_slope_of_a_single_one(name):
    """The lowest layer of a band that a single drop reaches into is its edge, in every task."""

    def single(model, task, edge, layer):
        return -60 * bump(layer / LAYERS, 0, 0.12)

    probe = PlantedSource({"edge": ["image -> question"]}, {"layer": range(LAYERS)}, single, noise=0.5, tasks=TASKS)
    assert "supported" not in set(verdicts({"flow": probe}, [name])["claim_verdict"])
