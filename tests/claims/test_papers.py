"""The claims of the papers: on means as the papers describe them each is supported, and without flow none is."""

import polars as pl
import pytest

from support.claim_rows import as_published, entry
from vlmflow.claims.declared import paper_claims
from vlmflow.claims.judge import CLAIMS, judge

TESTED = [name for name, claim in paper_claims().items() if claim.tests]
# Claims that contradict others, so that no rows support all of them.
OTHER_MODELS = {"F41", "F42"}


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
