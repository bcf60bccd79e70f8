"""Where nothing flows, claims of a flow are hardly ever supported, nor others contradicted.

benchmarks/claims.py draws more often.
"""

import sys
from collections import Counter

import pytest

from support.claim_rows import NULLS, TRUE_WITHOUT_FLOW
from support.paths import ROOT

pytestmark = pytest.mark.slow

DRAWS = 10


@pytest.fixture(scope="module")
def claims_benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import claims

    yield claims
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("null", NULLS)
def test_claims_are_rarely_supported_where_nothing_flows(claims_benchmark, monkeypatch, null):
    monkeypatch.setattr("vlmflow.analysis.bootstrap.RESAMPLES", claims_benchmark.RESAMPLES)
    found = Counter()
    for seed in range(DRAWS):
        found += claims_benchmark.judged_without_flow(null, seed)
    assert {name for name in TRUE_WITHOUT_FLOW if found[name, "contradicted"] > DRAWS // 5} == set()
    allowed = TRUE_WITHOUT_FLOW if null == "no flow" else frozenset()
    supported = {name: count for (name, verdict), count in found.items() if verdict == "supported"}
    wrong = {name: count for name, count in supported.items() if name not in allowed}
    # One claim may be supported by chance, but none in every fifth draw.
    assert all(count <= DRAWS // 5 for count in wrong.values()), wrong
    assert sum(wrong.values()) <= 0.05 * DRAWS * 60
