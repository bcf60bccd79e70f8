"""The first screen of the report: what was found in each model, in sentences with numbers, and its verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from vlmflow.analysis.stages import LEAST
from vlmflow.claims.table import WORST
from vlmflow.figures.numbers import signed

VERDICTS = ("supported", "contradicted", "undecided", "does not apply")
PERCENT = "\N{NO-BREAK SPACE}%"
SHOWN = 3  # claims that are named in a sentence
FEW = 2  # models whose contradicted claims are named
# (edge, what flows along it); of images and of captions.
QUESTIONS = (
    ("image -> question", "the image", "enter", "the question", ""),
    ("caption -> question", "the captions", "enter", "the question", ""),
    ("question -> last", "the question", "reach", "the answer", ""),
    ("image -> last", "the image", "reach", "the answer", " directly"),
    ("caption -> last", "the captions", "reach", "the answer", " directly"),
)
TIMES = {1: "", 2: " in two stages", 3: " in three stages", 4: " in four stages"}


def first_screen(
    models: Sequence[str],
    stages: pl.DataFrame | None,
    verdicts: pl.DataFrame | None,
    openings: Mapping[str, str] | None = None,
    accuracy: pl.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """For each model its name, layers, numbers of questions, sentences, and number of verdicts of each kind.

    Args:
        models: of the study.
        stages: rows of the table `stages`; None if no probe of the study has any.
        verdicts: see `vlmflow.claims.table.verdict_rows`; None if the study has no claims.
        openings: model → a sentence on it, for models without stages.
        accuracy: rows of the table `summary of answers`.
    """
    shown = []
    for model in models:
        own = None if stages is None else stages.filter(pl.col("model") == model)
        judged = None if verdicts is None else verdicts.filter(pl.col("model") == model)
        sentences = [] if own is None else list(stage_sentences(own))
        without = not sentences
        if without and openings is not None and model in openings:
            sentences.append(openings[model])
        named = VERDICTS[:2] if without else VERDICTS[1:2]
        # Of many models, the table of claims below shows at one glance what is contradicted.
        if judged is not None and (without or len(models) <= FEW):
            sentences += claim_sentences(judged, named, numbers=not sentences)
        shown.append(
            {
                "model": model,
                "layers": None if own is None or not len(own) else own["layers"][0],
                "questions": "" if accuracy is None else _questions(accuracy.filter(pl.col("model") == model)),
                "sentences": sentences,
                "strip": [] if judged is None else _strip(judged),
                "claims": 0 if judged is None else len(judged),
            }
        )
    return shown


def overview(stages: pl.DataFrame) -> list[str]:
    """For each of the main edges, in how many of several models something flows along it, and in how many this is open.

    Args:
        stages: rows of the table `stages`, of all models.
    """
    known = stages.filter(pl.col("reason").is_null())
    said = []
    for edge, source, verb, target, how in QUESTIONS:
        rows = known.filter(pl.col("edge") == edge).unique("model", maintain_order=True)
        if len(rows) < 2:
            continue
        found, closed = rows.filter(pl.col("stage") > 0), rows.filter(pl.col("stage") == 0, pl.col("low") >= LEAST)
        still = len(rows) - len(found) - len(closed)
        verbs = verb if source.endswith("s") else _third(verb)
        text = f"{source.capitalize()} {verbs} {target}{how} in {len(found)} of {len(rows)} models"
        said.append(text + (f" (open in {still})." if still else "."))
    return said


def _questions(accuracy: pl.DataFrame) -> str:
    """The numbers of correct and of analysed questions of one model, as text."""
    asked = accuracy.filter(pl.col("correct").is_not_null())
    correct = f"{asked['correct'].sum():,} of {asked['asked'].sum():,} answers correct" if len(asked) else ""
    analysed = accuracy["analysed"].sum()
    return ", ".join(filter(None, [correct, f"{analysed:,} analysed" if analysed else ""]))


def stage_sentences(stages: pl.DataFrame) -> Iterator[str]:
    """A sentence for each of the main edges of one model: its stages, or that there is none, or that this is open."""
    if len(stages) and stages["reason"].null_count() == 0:
        yield f"No edge could be judged: {stages['reason'][0]}."
    for edge, source, verb, target, how in QUESTIONS:
        rows = stages.filter(pl.col("edge") == edge, pl.col("reason").is_null()).to_dicts()
        if not rows:
            continue
        several = source.endswith("s")
        if rows[0]["stage"] > 0:
            times = TIMES.get(len(rows), f" in {len(rows)} stages")
            effects = _listed([f"{_effect(row)} {_place(row)}" for row in rows])
            yield f"{source.capitalize()} {verb if several else _third(verb)} {target}{how}{times}: {effects}."
        elif rows[0]["low"] >= LEAST:
            does = "do" if several else "does"
            few = f"less than {signed(-LEAST, 0).removeprefix('+')}{PERCENT}"
            yield f"{source.capitalize()} {does} not {verb} {target}{how} ({few}): {_effect(rows[0])}."
        else:
            verbs = verb if several else _third(verb)
            yield f"It is open whether {source} {verbs} {target}{how}: {_effect(rows[0])} {_place(rows[0])}."


def _third(verb: str) -> str:
    return f"{verb}es" if verb.endswith("ch") else f"{verb}s"


def _effect(row: dict[str, Any]) -> str:
    return f"{signed(row['effect'])}{PERCENT} [{signed(row['low'])}, {signed(row['high'])}]"


def _place(row: dict[str, Any]) -> str:
    place = f"around layer {row['layer']}"
    if row["layer_low"] == row["layer_high"]:
        return place
    return f"{place} [{row['layer_low']}, {row['layer_high']}]"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def claim_sentences(verdicts: pl.DataFrame, named: Sequence[str], numbers: bool) -> Iterator[str]:
    """Sentences on the claims of one model: one for each of some verdicts, or one for each of the first claims.

    Args:
        verdicts: of one model.
        named: verdicts whose claims are named.
        numbers: whether the sentences give the numbers of the first claims that are supported or contradicted.
    """
    if numbers:
        decided = verdicts.filter(pl.col("verdict").is_in(VERDICTS[:2]), pl.col("estimate").is_not_null())
        for row in decided.sort("verdict", descending=True, maintain_order=True).head(SHOWN).to_dicts():
            estimate = ", ".join(f"{row[name]:.3g}".replace("-", "−") for name in ("low", "high"))
            value = f"{row['estimate']:.3g}".replace("-", "−")
            yield f"{row['verdict'].capitalize()}: {row['text'].rstrip('.')} ({row['test']}: {value} [{estimate}])."
        return
    for verdict in named:
        judged = verdicts.filter(pl.col("verdict") == verdict).to_dicts()
        if judged:
            texts = "; ".join(f"“{row['text'].rstrip('.')}” ({_named(row)})" for row in judged[:SHOWN])
            more = f"; and {len(judged) - SHOWN} more" if len(judged) > SHOWN else ""
            yield f"{verdict.capitalize()} claims: {texts}{more}."


def _named(row: dict[str, Any]) -> str:
    """A claim's name, and in how many of its tests, such as one for each task, it is supported, if not in all."""
    held, tests = (row["scopes"] or "1 of 1").split(" of ")
    several = tests not in ("1", held)
    return f"{row['claim']}, supported in {row['scopes']} tests" if several else row["claim"]


def _strip(verdicts: pl.DataFrame) -> list[dict[str, Any]]:
    """The number of claims with each verdict, and its share of all, for a strip."""
    assert set(VERDICTS) == set(WORST)
    counts = {name: len(verdicts.filter(pl.col("verdict") == name)) for name in VERDICTS}
    return [{"verdict": name, "count": count} for name, count in counts.items() if count]
