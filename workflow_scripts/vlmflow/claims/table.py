"""The table of verdicts: a row per claim and model."""

import polars as pl

WORST = ("contradicted", "undecided", "supported", "does not apply")


def verdict_rows(judged: pl.DataFrame) -> pl.DataFrame:
    """A row per claim and model, with the test that decides: the one that is furthest from supporting the claim.

    Args:
        judged: rows of the table `claims`.

    Returns:
        columns claim, paper, source, text, printed, model, second_model, verdict, scopes (how many of them support it),
        scope, test, rule, estimate, low, high, reason.
    """
    about = ["claim", "paper", "source", "text", "printed", "model", "second_model"]
    rank = pl.col("verdict").replace_strict(WORST, range(len(WORST)), return_dtype=pl.Int32)
    rows = judged.with_columns(rank=rank)
    scopes = (
        rows.filter(pl.col("verdict") != "does not apply")
        .unique([*about, "scope"], maintain_order=True)
        .group_by(about, maintain_order=True)
        .agg(
            scopes=pl.format("{} of {}", (pl.col("verdict") == "supported").sum(), pl.len()),
        )
    )
    # In a scope that does not apply, the test that gives the reason.
    order_of_tests = (pl.col("rank"), pl.col("reason").is_null(), -pl.col("p"))
    decisive = rows.sort(*order_of_tests, nulls_last=True, maintain_order=True)
    kept = ["claim_verdict", "scope", "test", "rule", "estimate", "low", "high", "reason"]
    decisive = decisive.group_by(about, maintain_order=True).agg(pl.col(kept).first())
    order = judged.select(about).unique(maintain_order=True)
    return (
        order.join(decisive, on=about, nulls_equal=True, maintain_order="left")
        .join(scopes, on=about, how="left", nulls_equal=True, maintain_order="left")
        .select(*about, pl.col("claim_verdict").alias("verdict"), "scopes", *kept[1:])
    )
