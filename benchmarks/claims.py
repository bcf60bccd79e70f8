"""How often each claim is supported where nothing flows, and where nothing but noise is measured: it should be rare.

    python benchmarks/claims.py [draws] [processes]

The rows of all probes are drawn anew for each of 200 draws: once with the same mean everywhere ("no flow"), once as if,
in addition, a token were measured that is not the answer, whose changes are large and of any sign ("noise"), and once
with such changes that are alike in neighbouring layers ("smooth noise").
Claims that something is negligible, or the same everywhere, are true without flow.  docs/claims.md has the result.
"""

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product, zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.claim_rows import FEW_TASKS, NULLS, TRUE_WITHOUT_FLOW, as_published, entry
from vlmflow.analysis import bootstrap
from vlmflow.claims.declared import paper_claims
from vlmflow.claims.judge import judge

RESAMPLES, IMAGES, LAYERS = 500, 24, 20
MODELS = ["a", "small", "reader"]


def supported(case: tuple[str, int]) -> Counter:
    """The claims that are supported in one draw."""
    null, seed = case
    bootstrap.RESAMPLES = RESAMPLES
    sources = as_published(LAYERS, seed=seed, images=IMAGES, null=null, few=FEW_TASKS)
    tested = [name for name, claim in paper_claims().items() if claim.tests]
    judged = judge({name: entry(name) for name in tested}, sources, dict.fromkeys(MODELS, LAYERS), MODELS)
    rows = judged.unique(["claim", "model", "second_model"]).select("claim", "claim_verdict")
    return Counter((null, name) for name, verdict in rows.iter_rows() if verdict == "supported")


def main() -> None:
    """Print the share of draws in which each claim is supported."""
    draws, processes = (int(given or default) for given, default in zip_longest(sys.argv[1:3], (200, 2)))
    cases = list(product(NULLS, range(draws)))
    total: Counter = Counter()
    with ProcessPoolExecutor(processes) as pool:
        for done, found in enumerate(pool.map(supported, cases), 1):
            total += found
            print(f"\r{done} of {len(cases)} draws", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("percent of the draws in which each claim is supported")
    print(f"{'claim':14}" + "".join(f"{null:>14}" for null in NULLS))
    for name, claim in paper_claims().items():
        if claim.tests:
            shares = "".join(f"{100 * total[null, name] / draws:14.1f}" for null in NULLS)
            true = "  true without flow" if name in TRUE_WITHOUT_FLOW else ""
            print(f"{name:14}{shares}{true}")


if __name__ == "__main__":
    main()
