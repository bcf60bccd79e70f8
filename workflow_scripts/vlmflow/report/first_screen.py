"""The first screen of the report: what was found in each model, in sentences with numbers, and its verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from vlmflow.analysis.stages import LEAST
from vlmflow.claims.table import WORST
from vlmflow.figures.numbers import signed

VERDICTS = ("supported", "contradicted", "undecided", "does not apply")
SHOWN = 3  # claims that are named in a sentence
# (edge, what its stages do, what it means that there is none); of images and of captions.
QUESTIONS = (
    ("image -> question", "The image enters the question", "The image does not enter the question"),
    ("caption -> question", "The captions enter the question", "The captions do not enter the question"),
    ("question -> last", "The question reaches the answer", "The question does not reach the answer"),
    ("image -> last", "The image also reaches the answer directly", "The image does not reach the answer directly"),
    (
        "caption -> last",
        "The captions also reach the answer directly",
        "The captions do not reach the answer directly",
    ),
)
TIMES = {1: "", 2: " in two stages", 3: " in three stages", 4: " in four stages"}


def first_screen(
    models: Sequence[str], stages: pl.DataFrame | None, verdicts: pl.DataFrame | None
) -> list[dict[str, Any]]:
    """For each model its name, layers, sentences, and number of verdicts of each kind.

    Args:
        models: of the study.
        stages: rows of the table `stages`; None if no probe of the study has any.
        verdicts: see `vlmflow.claims.table.verdict_rows`; None if the study has no claims.
    """
    shown = []
    for model in models:
        own = None if stages is None else stages.filter(pl.col("model") == model)
        judged = None if verdicts is None else verdicts.filter(pl.col("model") == model)
        sentences = [] if own is None else list(stage_sentences(own))
        if judged is not None:
            sentences += claim_sentences(judged, numbers=not sentences)
        shown.append(
            {
                "model": model,
                "layers": None if own is None or not len(own) else own["layers"][0],
                "sentences": sentences,
                "strip": [] if judged is None else _strip(judged),
                "claims": 0 if judged is None else len(judged),
            }
        )
    return shown


def stage_sentences(stages: pl.DataFrame) -> Iterator[str]:
    """A sentence for each of the main edges of one model."""
    for edge, found, not_found in QUESTIONS:
        rows = stages.filter(pl.col("edge") == edge, pl.col("reason").is_null()).to_dicts()
        if not rows:
            continue
        if rows[0]["stage"] == 0:
            yield f"{not_found}: {_effect(rows[0])} at most{_negligible(rows[0])}."
            continue
        times = TIMES.get(len(rows), f" in {len(rows)} stages")
        effects = [f"{_effect(row)} {_place(row)}" for row in rows]
        yield f"{found}{times}: {_listed(effects)}."


def _effect(row: dict[str, Any]) -> str:
    return f"{signed(row['effect'])} % [{signed(row['low'])}, {signed(row['high'])}]"


def _negligible(row: dict[str, Any]) -> str:
    """The remark that an effect may be more than negligible, where its interval allows it."""
    return "" if row["low"] >= LEAST else f", and not confirmed below {signed(LEAST, 0)} %"


def _place(row: dict[str, Any]) -> str:
    place = f"around layer {row['layer']}"
    if row["layer_low"] == row["layer_high"]:
        return place
    return f"{place} [{row['layer_low']}, {row['layer_high']}]"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def claim_sentences(verdicts: pl.DataFrame, numbers: bool) -> Iterator[str]:
    """Sentences on the claims of one model: what is contradicted, and without stages also what is supported.

    Args:
        verdicts: of one model.
        numbers: whether the sentences give the numbers of the first claims.
    """
    judged = verdicts.filter(pl.col("verdict").is_in(["supported", "contradicted"])).to_dicts()
    with_numbers = [row for row in judged if row["estimate"] is not None]
    if numbers:
        for row in with_numbers[:SHOWN]:
            estimate = ", ".join(f"{row[name]:.3g}".replace("-", "−") for name in ("low", "high"))
            value = f"{row['estimate']:.3g}".replace("-", "−")
            yield f"{row['verdict'].capitalize()}: {row['text'].rstrip('.')} ({row['test']}: {value} [{estimate}])."
        return
    against = [row for row in judged if row["verdict"] == "contradicted"]
    if against:
        named = "; ".join(f"“{row['text'].rstrip('.')}” ({_named(row)})" for row in against[:SHOWN])
        more = f"; and {len(against) - SHOWN} more" if len(against) > SHOWN else ""
        yield f"Contradicted: {named}{more}."


def _named(row: dict[str, Any]) -> str:
    """A claim's name, and in how many of its tasks it is supported, if it has several."""
    several = row["scopes"] is not None and not row["scopes"].endswith(" of 1")
    return f"{row['claim']}, supported in {row['scopes']} tasks" if several else row["claim"]


def _strip(verdicts: pl.DataFrame) -> list[dict[str, Any]]:
    """The number of claims with each verdict, and its share of all, for a strip."""
    assert set(VERDICTS) == set(WORST)
    counts = {name: len(verdicts.filter(pl.col("verdict") == name)) for name in VERDICTS}
    return [{"verdict": name, "count": count} for name, count in counts.items() if count]
