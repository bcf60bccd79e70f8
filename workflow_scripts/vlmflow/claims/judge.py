"""Verdicts on all claims of a study."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import polars as pl

from vlmflow.analysis.line import NotDefinedError
from vlmflow.progress import with_progress
from vlmflow.tables import Column, Table

from .declared import Claim, StudyClaim
from .measure import Measuring, Scope, defined
from .sources import Source
from .verdict import LEVEL, Verdict, holm, sides, verdict, verdict_of_all
from .wording import rule_text, test_text

CLAIMS = Table(
    "claims",
    {
        "claim": Column(pl.String, "name in the study file"),
        "paper": Column(pl.String, "flow, phase, thesis, or a user's own; may be empty"),
        "source": Column(pl.String, "where in the paper"),
        "text": Column(pl.String, "the claim in one sentence"),
        "printed": Column(pl.String, "the number that the paper prints; may be empty"),
        "model": Column(pl.String, "name in the study file"),
        "second_model": Column(pl.String, "the model with which it is compared", nullable=True),
        "scope": Column(pl.String, "the task, or the tasks over which a mean is taken, and values of other columns"),
        "test": Column(pl.String, "what is measured; empty if the claim sums up others"),
        "rule": Column(pl.String, "where its whole interval must lie"),
        "estimate": Column(pl.Float64, "of the statistic, in the sample", nullable=True),
        "low": Column(pl.Float64, "lower end of its 95 % bootstrap interval over images", nullable=True),
        "high": Column(pl.Float64, "upper end of the same interval", nullable=True),
        "p": Column(pl.Float64, "one-sided p-value of the values that are not where the rule says", nullable=True),
        "p_false": Column(
            pl.Float64, "largest `p` of the scope; corrected over scopes (Holm) unless all of them hold", nullable=True
        ),
        "p_true": Column(
            pl.Float64, "smallest 1 − `p` of the scope, corrected over its tests and over scopes (Holm)", nullable=True
        ),
        "questions": Column(pl.Int32, "number of questions"),
        "images": Column(pl.Int32, "number of images, which are resampled"),
        "verdict": Column(pl.String, "of this scope: supported, contradicted, undecided, does not apply"),
        "reason": Column(pl.String, "why it does not apply; null if it does", nullable=True),
        "claim_verdict": Column(pl.String, "of the claim on this model: over all scopes"),
    },
)
AVERAGED = "mean over tasks"


@dataclass
class Judged:
    """One test of a claim in one scope, with its row and its one-sided p-values; None where it does not apply."""

    scope: Scope
    row: dict
    p: tuple[float, float] | None = None


def judge(
    claims: Mapping[str, StudyClaim],
    sources: Mapping[str, Source],
    layers: Mapping[str, int],
    order: Sequence[str],
) -> pl.DataFrame:
    """Rows of the table `claims`: the verdict on every claim, for every model and scope.

    Args:
        claims: as the study file has them, by their names.
        sources: name of a probe, an accuracy table, or `answers` → its rows.
        layers: model → number of its layers.
        order: all models of the study.
    """
    rows: list[dict] = []
    declared = {name: entry.declared(name) for name, entry in claims.items()}
    tested = [name for name, claim in declared.items() if claim.tests]
    for name in with_progress(tested, "claims", len(tested), "claims"):
        rows += _judge(name, declared[name], claims[name], sources, layers, order)
    verdicts: dict[tuple[str, str, str | None], tuple[Verdict, float]] = {}
    for row in rows:
        key = (row["claim"], row["model"], row["second_model"])
        _, smallest = verdicts.get(key, (None, 1.0))
        verdicts[key] = row["claim_verdict"], min(smallest, 1.0 if row["p_true"] is None else row["p_true"])
    for name, claim in declared.items():
        if claim.all_of:
            nothing = _about(name, claim, "–", None) | _nothing("none of the claims that it sums up has a verdict")
            rows += list(_sum_up(name, claim, verdicts, order)) or [nothing]
    places = {name: place for place, name in enumerate(claims)}
    return CLAIMS.frame(sorted(rows, key=lambda row: places[row["claim"]]))


def _judge(
    name: str,
    claim: Claim,
    entry: StudyClaim,
    sources: Mapping[str, Source],
    layers: Mapping[str, int],
    order: Sequence[str],
) -> list[dict]:
    """The rows of one claim with tests."""
    roles = {role: [sources[each] for each in entry.probes_of(role) if each in sources] for role in claim.probes}
    role = claim.probes[0]
    measuring = Measuring(roles, layers)
    having = [model for model in order if any(model in source.models() for source in roles[role])]
    rows: list[dict] = []
    for first, second in _models(claim, having):
        about = _about(name, claim, first, second)
        if first not in having:
            rows.append(about | _nothing(f"no probe of this claim was measured with {first}"))
            continue
        scopes = _scopes(claim, entry, measuring, first, second, role)
        judged = [each for scope in scopes for each in _tests(claim, measuring, scope, role)]
        none = [about | _nothing(f"{first} was asked none of its tasks, or has none of its lines")]
        rows += _with_verdicts(about, judged) or none
    if not having:
        reason = "no model has its probe"
    elif claim.pairs:
        reason = f"it compares two models, and {'the study has' if claim.models is None else 'it is limited to'} one"
    else:
        reason = f"its only model is {claim.second_model}, with which others are compared"
    return rows or [_about(name, claim, having[0] if having else "–", None) | _nothing(reason)]


def _models(claim: Claim, having: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """(model, second model) of each verdict."""
    if claim.pairs:
        pairs = list(combinations([model for model in having if claim.models is None or model in claim.models], 2))
        yield from pairs
        return
    chosen = claim.models if claim.models is not None else having
    yield from ((model, claim.second_model) for model in chosen if model != claim.second_model)


def _scopes(
    claim: Claim, entry: StudyClaim, measuring: Measuring, first: str, second: str | None, role: str
) -> Iterator[Scope]:
    """The scopes in which a claim has a verdict for a model."""
    known = measuring.source(role, first).tasks()
    tasks = [task for task in known if claim.tasks is None or task in claim.tasks]
    per_task = [(task,) for task in tasks] if "task" in claim.each else [tuple(tasks)]
    whole = Scope(first, second, tuple(tasks or known), dict(entry.where))
    columns = [column for column in claim.each if column != "task"]
    try:
        values = [measuring.values_of(column, whole, role) for column in columns]
    except NotDefinedError:
        values = [[] for _ in columns]
    values = [
        [value for value in known if column not in claim.values or value in claim.values[column]]
        for column, known in zip(columns, values, strict=True)
    ]
    for these, chosen in product(per_task, product(*values)):
        where = {**entry.where, **dict(zip(columns, chosen, strict=True))}
        yield Scope(first, second, these, where, entry.against)


def _tests(claim: Claim, measuring: Measuring, scope: Scope, role: str) -> Iterator[Judged]:
    """All tests of a claim in one scope."""
    for test in claim.tests:
        row: dict = {
            "scope": _scope_text(scope, claim),
            "test": test_text(test, scope.where, scope.against),
            "rule": rule_text(test),
        }
        try:
            if not scope.tasks:
                raise NotDefinedError("the study has none of the tasks that it is about")
            measured = defined(measuring.test(test, scope, role))
        except NotDefinedError as error:
            yield Judged(scope, _nothing(str(error)) | row)
            continue
        low, high = measured.interval
        row |= {"estimate": float(measured.values[0]), "low": low, "high": high, "reason": None}
        p = sides(test, measured.estimates)
        row |= {"questions": measured.questions, "images": measured.images, "p": p[0]}
        yield Judged(scope, row, p)


def _with_verdicts(about: dict, judged: Sequence[Judged]) -> list[dict]:
    """The rows with their verdicts: corrected over the scopes (Holm), and over the tests of a scope."""
    by_scope: dict[str, list[Judged]] = {}
    for each in judged:
        by_scope.setdefault(each.row["scope"], []).append(each)
    applied = {scope: tests for scope, tests in by_scope.items() if all(test.p is not None for test in tests)}
    # All tests must hold, so that the weakest decides; whether one of them fails is tested once for each.
    p_values = [[test.p for test in tests if test.p is not None] for tests in applied.values()]
    weakest = [max(false for false, _ in each) for each in p_values]
    # If every scope is supported, so is each, since a claim about all of them is wrong if any is; else single scopes
    # are supported only after a correction for their number.
    against = weakest if weakest and max(weakest) <= LEVEL else holm(weakest)
    in_favour = holm([min(1.0, len(each) * min(true for _, true in each)) for each in p_values])
    verdicts: dict[str, Verdict] = dict.fromkeys(by_scope, "does not apply")
    corrected: dict[str, tuple[float, float]] = {}
    for scope, false, true in zip(applied, against, in_favour, strict=True):
        verdicts[scope], corrected[scope] = verdict(false, true), (false, true)
    whole = verdict_of_all(list(verdicts.values()))
    rows = []
    for each in judged:
        p = corrected.get(each.row["scope"], (None, None))
        ends = {"p_false": p[0], "p_true": p[1], "verdict": verdicts[each.row["scope"]], "claim_verdict": whole}
        rows.append(about | each.row | ends)
    return rows


def _sum_up(
    name: str,
    claim: Claim,
    verdicts: Mapping[tuple[str, str, str | None], tuple[Verdict, float]],
    order: Sequence[str],
) -> Iterator[dict]:
    """The rows of a claim that sums up others: a verdict for each model that they have verdicts for.

    Args:
        name, claim: the claim that sums up.
        verdicts: (claim, model, second model) → its verdict, and the smallest `p_true` of its scopes.
        order: all models of the study.
    """
    for model in order:
        if claim.models is not None and model not in claim.models:
            continue
        found = {key: each for key, each in verdicts.items() if key[0] in claim.all_of and model in key[1:]}
        if not found:
            continue
        by_part: dict[str, list[Verdict]] = {}
        for (part, *_), (each, _) in found.items():
            by_part.setdefault(part, []).append(each)
        parts = {part: verdict_of_all(each) for part, each in by_part.items()}
        whole = verdict_of_all(list(parts.values()))
        # One of many parts may be contradicted by chance.
        p_true = min(1.0, len(found) * min(smallest for _, smallest in found.values()))
        if whole == "contradicted" and p_true > LEVEL:
            whole = "undecided"
        texts = [f"{part} {each}" for part, each in parts.items()]
        row = _about(name, claim, model, None) | _nothing(None) | {"scope": "; ".join(texts)}
        yield row | {"rule": "all of them supported", "p_true": p_true, "verdict": whole, "claim_verdict": whole}


def _about(name: str, claim: Claim, model: str, second: str | None) -> dict:
    texts = {key: getattr(claim, key) for key in ("paper", "source", "text", "printed")}
    compared = claim.needs_second_model
    return {"claim": name, **texts, "model": model, "second_model": second if compared else None}


def _nothing(reason: str | None) -> dict:
    """The columns of a row without a measure."""
    empty = dict.fromkeys(("estimate", "low", "high", "p", "p_false", "p_true"))
    row = {"scope": "", "test": "", "rule": "", **empty, "questions": 0, "images": 0, "reason": reason}
    return row | {"verdict": "does not apply", "claim_verdict": "does not apply"}


def _scope_text(scope: Scope, claim: Claim) -> str:
    where = [f"{column} {value}" for column, value in scope.where.items() if column in claim.each]
    tasks = scope.tasks[0] if len(scope.tasks) == 1 else AVERAGED
    if any(test.range_over for test in claim.tests):
        tasks = "all tasks"
    return ", ".join([tasks, *where])
