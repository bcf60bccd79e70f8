"""Checks of a study's claims against its probes, models and tasks."""

from collections.abc import Mapping
from typing import Protocol

from vlmflow.claims.declared import Claim, StudyClaim, Where
from vlmflow.claims.sources import ANSWERS_ROLE, GROUPS
from vlmflow.probes import Probe
from vlmflow.probes.base import StudyView


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
    for other in claim.all_of:
        if other not in study.claims:
            raise ValueError(f"claims.{name}: it sums up the claim {other!r}, which the study does not have; add it")


def _check_names(name: str, claim: Claim, study: ClaimedStudy) -> None:
    for key, given, known in (
        ("models", claim.models or [], study.reads),
        ("second_model", [claim.second_model] if claim.second_model else [], study.reads),
        ("tasks", study.claims[name].tasks or [], study.tasks),
    ):
        for each in given:
            if each not in known:
                raise ValueError(
                    f"claims.{name}.{key}: there is no {key.removeprefix('second_').rstrip('s')} {each!r}; choose from "
                    f"{', '.join(known)}"
                )
    if claim.needs_second_model and claim.second_model is None and not claim.pairs:
        raise ValueError(f"claims.{name}.second_model: this key is missing; the claim compares two models")


def _check_source(name: str, role: str, source: str, claim: Claim, study: ClaimedStudy) -> None:
    wanted: list[Where] = [line.where for line in claim.lines if (line.probe or claim.probes[0]) == role]
    if source == ANSWERS_ROLE or source in study.accuracy_tables:
        columns: tuple[str, ...] = GROUPS if source != ANSWERS_ROLE else ()
        probe: Probe | None = None
    elif source in study.probes:
        probe = study.probes[source]
        columns = (*probe.averaging.by, *claim.each)
    else:
        known = ", ".join([*study.probes, *study.accuracy_tables, ANSWERS_ROLE])
        raise ValueError(f"claims.{name}.probes.{role}: there is no probe {source!r}; choose from {known}")
    for where in wanted:
        for column, value in where.items():
            if column not in columns:
                raise ValueError(
                    f"claims.{name}.probes.{role}: the rows of {source!r} have no column {column!r}, which this claim "
                    f"needs; they have {', '.join(columns) or 'none'}"
                )
            measured = probe.values_measured(column) if probe is not None else None
            if measured is not None and value not in measured:
                raise ValueError(
                    f"claims.{name}.probes.{role}: the probe {source!r} does not measure {column} {value!r}; it "
                    f"measures {', '.join(map(str, measured))}"
                )
