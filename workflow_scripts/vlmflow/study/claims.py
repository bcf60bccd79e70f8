"""Checks of a study's claims against its probes, models and tasks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import polars as pl

from vlmflow.claims.declared import Claim, StudyClaim, Where
from vlmflow.claims.sources import ANSWERS_ROLE, GROUPS
from vlmflow.probes import Probe
from vlmflow.probes.study_view import StudyView


class ClaimedStudy(StudyView, Protocol):
    """The part of a study that claims are about."""

    @property
    def claims(self) -> Mapping[str, StudyClaim]:
        """All claims, by name."""

    @property
    def accuracy_tables(self) -> Mapping[str, object]:
        """The tables with answers of their own, by name."""


def sources_of_claims(study: ClaimedStudy) -> list[str]:
    """The probes, accuracy tables, and perhaps `answers`, on whose rows the study's claims are judged."""
    names: dict[str, None] = {}
    for name, entry in study.claims.items():
        for role in entry.declared(name).probes:
            names |= dict.fromkeys(entry.probes_of(role))
    return list(names)


def check_claim(name: str, study: ClaimedStudy) -> None:
    """Check the claim `name` of a study.

    Raises:
        ValueError: it cannot be judged on what the study measures; the message names the key.
    """
    entry = study.claims[name]
    claim = entry.declared(name)
    _check_names(name, claim, study)
    for role in claim.probes:
        for probe in entry.probes_of(role):
            _check_source(name, role, probe, claim, study)
    for role in entry.probes:
        if role not in claim.probes:
            known = ", ".join(claim.probes) or "none"
            raise ValueError(f"claims.{name}.probes.{role}: this claim has no such probe; it has {known}")
    _check_columns(name, claim, study)
    for other in claim.all_of:
        if other not in study.claims:
            raise ValueError(f"claims.{name}: it combines the claim {other!r}, which the study does not have; add it")
        if study.claims[other].declared(other).all_of:
            raise ValueError(f"claims.{name}.all_of: {other!r} combines claims itself; name these")


def _check_names(name: str, claim: Claim, study: ClaimedStudy) -> None:
    entry = study.claims[name]
    tasks = [*(entry.tasks or []), *(_tasks_named(entry.own) if entry.own is not None else [])]
    for key, given, known in (
        ("models", claim.models or [], study.reads),
        ("second_model", [claim.second_model] if claim.second_model else [], study.reads),
        ("tasks", tasks, [*study.tasks, *study.accuracy_tables]),
    ):
        for each in given:
            if each not in known:
                raise ValueError(
                    f"claims.{name}.{key}: there is no {key.removeprefix('second_').rstrip('s')} {each!r}; choose from "
                    f"{', '.join(known)}"
                )
    if claim.second_model is not None and claim.models == [claim.second_model]:
        raise ValueError(f"claims.{name}.second_model: it is the only model; it cannot be compared with itself")
    if claim.needs_second_model and claim.second_model is None and not claim.pairs:
        raise ValueError(f"claims.{name}.second_model: this key is missing; the claim compares two models")
    if claim.second_model is not None and not claim.needs_second_model:
        raise ValueError(f"claims.{name}.second_model: this claim compares no two models; remove this key")
    if entry.tasks is not None and claim.tests and all(test.tasks is not None for test in claim.tests):
        raise ValueError(f"claims.{name}.tasks: each test of this claim names its own tasks; remove this key")


def _tasks_named(claim: Claim) -> Iterator[str]:
    yield from claim.tasks or []
    for _, line in claim.lines:
        yield from line.tasks or []


def _check_columns(name: str, claim: Claim, study: ClaimedStudy) -> None:
    """Check the columns that an entry names against those that the rows of its probes have."""
    entry = study.claims[name]
    given = [study.probes[each] for role in claim.probes for each in entry.probes_of(role) if each in study.probes]
    columns = {column for probe in given for column in probe.averaging.by}
    if entry.against and not claim.compares_lines:
        raise ValueError(f"claims.{name}.against: this claim compares no two lines; remove this key")
    named: list[tuple[str, str, str | float | None]] = [
        *(("where", *each) for each in entry.where.items()),
        *(("against", *each) for each in entry.against.items()),
        *(("own.each", column, None) for column in claim.each if column != "task"),
        *(("own.tests", test.trend_over, None) for test in claim.tests if test.trend_over is not None),
        *(("values", column, value) for column, values in (entry.values or {}).items() for value in values),
    ]
    if entry.own is not None:
        named += [("own.values", column, value) for column, values in claim.values.items() for value in values]
    for key, column, value in named:
        if column not in columns:
            raise ValueError(
                f"claims.{name}.{key}: no probe of this claim has rows with a column {column!r}; they have "
                f"{', '.join(sorted(columns)) or 'none'}"
            )
        _check_type(f"claims.{name}.{key}", column, value, given)
        measured = [each for probe in given if (each := probe.values_measured(column)) is not None]
        if value is not None and measured and all(value not in each for each in measured):
            known = ", ".join(map(str, dict.fromkeys(each for values in measured for each in values)))
            raise ValueError(f"claims.{name}.{key}: nothing is measured with {column} {value!r}; choose from {known}")


def _check_type(key: str, column: str, value: str | float | None, probes: Iterable[Probe]) -> None:
    """Check that a value is text if the probes' column has text, and else a number."""
    for probe in probes:
        known = probe.averaging.table(probe.table).columns.get(column)
        if value is not None and known is not None and isinstance(value, str) != (known.dtype == pl.String):
            kind = "text" if known.dtype == pl.String else "numbers"
            raise ValueError(f"{key}: {column} {value!r}: this column has {kind}")


def _check_source(name: str, role: str, source: str, claim: Claim, study: ClaimedStudy) -> None:
    wanted: list[Where] = [line.chosen for probe, line in claim.lines if probe == role]
    if source == ANSWERS_ROLE or source in study.accuracy_tables:
        columns: tuple[str, ...] = GROUPS if source != ANSWERS_ROLE else ()
        probe: Probe | None = None
    elif source in study.probes:
        probe = study.probes[source]
        columns = probe.averaging.by
    else:
        known = ", ".join([*study.probes, *study.accuracy_tables, ANSWERS_ROLE])
        raise ValueError(
            f"claims.{name}.probes.{role}: there is no probe {source!r}; choose from {known}, or remove this claim"
        )
    for where in wanted:
        for column, value in where.items():
            if column not in columns:
                raise ValueError(
                    f"claims.{name}.probes.{role}: the rows of {source!r} have no column {column!r}, which this claim "
                    f"needs; they have {', '.join(columns) or 'none'}"
                )
            if probe is not None:
                _check_type(f"claims.{name}.probes.{role}", column, value, [probe])
            measured = probe.values_measured(column) if probe is not None else None
            if measured is not None and value not in measured:
                raise ValueError(
                    f"claims.{name}.probes.{role}: the probe {source!r} does not measure {column} {value!r}, but "
                    f"{', '.join(map(str, measured))}; add it there, or remove this claim"
                )
