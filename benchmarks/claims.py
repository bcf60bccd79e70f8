"""How often each claim is supported where nothing flows, and where nothing but noise is measured: it should be rare.

    python benchmarks/claims.py [draws] [processes] [claim ...]

The rows of all probes are drawn anew for each of 200 draws: once with the same mean everywhere ("no flow"), once as if,
in addition, a token were measured that is not the answer, whose changes are large and of any sign ("noise"), and once
with such changes that are alike in neighbouring layers ("smooth noise").
Claims that something is negligible, or the same everywhere, are true without flow; of these, it should be rare that
one is contradicted.  docs/claims.md has the result.
"""

import sys
from collections import Counter
from collections.abc import Sequence
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


def judged_without_flow(null: str, seed: int, names: Sequence[str] = ()) -> Counter:
    """(claim, verdict) in one draw, of these claims or of all."""
    bootstrap.RESAMPLES = RESAMPLES
    sources = as_published(LAYERS, seed=seed, images=IMAGES, null=null, few=FEW_TASKS)
    tested = [name for name, claim in paper_claims().items() if claim.tests and (not names or name in names)]
    judged = judge({name: entry(name) for name in tested}, sources, dict.fromkeys(MODELS, LAYERS), MODELS)
    rows = judged.unique(["claim", "model", "second_model"]).select("claim", "claim_verdict")
    return Counter(rows.iter_rows())


def main() -> None:
    """Print the share of draws in which each claim is supported, or contradicted though it is true."""
    draws, processes = (int(given or default) for given, default in zip_longest(sys.argv[1:3], (200, 2)))
    names = sys.argv[3:]
    cases = list(product(NULLS, range(draws)))
    total: Counter = Counter()
    with ProcessPoolExecutor(processes) as pool:
        found = pool.map(judged_without_flow, *zip(*cases, strict=True), [names] * len(cases))
        for done, ((null, _), verdicts) in enumerate(zip(cases, found, strict=True), 1):
            total += Counter({(null, *key): count for key, count in verdicts.items()})
            print(f"\r{done} of {len(cases)} draws", end="", file=sys.stderr)
    print(file=sys.stderr)
    print("percent of the draws in which each claim is supported; of those that are true, also contradicted")
    print(f"{'claim':14}" + "".join(f"{null:>14}" for null in NULLS))
    for name in sorted({name for _, name, _ in total}):
        for verdict in ("supported", *(["contradicted"] if name in TRUE_WITHOUT_FLOW else [])):
            shares = "".join(f"{100 * total[null, name, verdict] / draws:14.1f}" for null in NULLS)
            print(f"{name:14}{shares}{'  wrongly contradicted' if verdict == 'contradicted' else ''}")


if __name__ == "__main__":
    main()
