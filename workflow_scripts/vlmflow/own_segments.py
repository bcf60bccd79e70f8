"""Segments that a study defines itself, under `segments`; elsewhere they are written in brackets, as `[my words]`."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from vlmflow.edges import SEGMENTS, SINK_SEGMENTS, check_segment, is_own, own_name
from vlmflow.settings import Strict

WAYS = ("words", "pattern", "around", "boxes", "all_but", "as_many_as")


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


def _check_no_sinks(name: str) -> str:
    if name in SINK_SEGMENTS:
        raise ValueError(f"segment {name!r}: this probe does not know which patches are sinks; choose another segment")
    return name


def _check_own_name(name: str) -> str:
    if not re.fullmatch(r"[\w ,.'-]+", name) or name != name.strip():
        raise ValueError(f"segment {name!r}: use letters, digits, spaces and , . ' - _")
    if name in SEGMENTS:
        raise ValueError(f"segment {name!r}: every prompt has a segment of this name; choose another one")
    return name


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_check_pattern)]
SegmentName = Annotated[str, AfterValidator(check_segment)]
# Of a probe that has no key that defines sinks.
NoSinks = Annotated[SegmentName, AfterValidator(_check_no_sinks)]
OwnName = Annotated[str, AfterValidator(_check_own_name)]


class Boxes(Strict):
    """The boxes of some of the objects that a question is about."""

    name: str | None = Field(None, min_length=1, description="The object's name.")
    attribute: str | None = Field(None, min_length=1, description="One of its attributes, as annotated.")

    @model_validator(mode="after")
    def _something_is_named(self) -> "Boxes":
        if self.name is None and self.attribute is None:
            raise ValueError("give name or attribute, or both, which must then both hold")
        return self


class OwnSegment(Strict):
    """A segment of a study; exactly one key says what it is."""

    words: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, min_length=1, description="These words of the question, wherever they are in it."
    )
    pattern: Pattern | None = Field(None, description="What this regular expression matches in the question.")
    around: Pattern | None = Field(
        None,
        description="What this regular expression matches in the prompt's text after the image, but outside of the "
        "question.",
    )
    boxes: Boxes | None = Field(None, description="The patches that overlap the boxes of such objects.")
    all_but: SegmentName | None = Field(None, description="Everything but this segment.")
    as_many_as: SegmentName | None = Field(
        None, description="As many random positions as this segment has, and none of its own; the same in every run."
    )
    of: SegmentName | None = Field(
        None, description="The segment to which all_but and as_many_as belong; by default the whole prompt."
    )

    @model_validator(mode="after")
    def _one_way(self) -> "OwnSegment":
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(WAYS)}, not {' and '.join(given) or 'none'}")
        if self.of is not None and given[0] not in ("all_but", "as_many_as"):
            raise ValueError("of: this key belongs to all_but and as_many_as")
        return self

    @property
    def refers_to(self) -> list[str]:
        """The segments by which it is defined."""
        found = [name for name in (self.all_but, self.as_many_as, self.of) if name is not None]
        return [*found, "image"] if self.boxes is not None else found


OwnSegments = dict[OwnName, OwnSegment]


def with_referred(names: Iterable[str], own: Mapping[str, OwnSegment]) -> list[str]:
    """The segments, and all by which those of a study are defined, directly or not.

    Raises:
        ValueError: the study does not define one of them, or defines one by itself.
    """
    found: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        found[name] = None
        if not is_own(name):
            return
        if name in above:
            raise ValueError(f"segments.{own_name(name)}: it is defined by itself")
        if own_name(name) not in own:
            raise ValueError(f"segment {name!r}: the study's `segments` do not define it")
        for other in own[own_name(name)].refers_to:
            add(other, (*above, name))

    for name in names:
        add(name, ())
    return list(found)


def with_used_segments(study: Any) -> Any:
    """A study, as its file has it, in which each probe has those of the study's segments that it names: its
    measurements depend on these alone."""
    own, probes = (study.get(key) for key in ("segments", "probes")) if isinstance(study, dict) else (None, None)
    if not isinstance(own, dict) or not isinstance(probes, dict):
        return study
    used = {name: used_in(probe, own) for name, probe in probes.items() if isinstance(probe, dict)}
    with_own = {name: probes[name] | {"own_segments": found} for name, found in used.items() if found}
    return {**study, "probes": {**probes, **with_own}}


def used_in(settings: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a study's segments that some settings name in brackets, with those by which they are defined.

    Args:
        settings: as a study file has them, before they are checked.
        own: the study's segments, as the file has them.
    """
    found: dict[str, Any] = {}
    texts = list(_texts(settings))
    while texts:
        for name in re.findall(r"\[([^\[\]]+)\]", texts.pop()):
            if name in own and name not in found:
                found[name] = own[name]
                texts += _texts(own[name])
    return {name: definition for name, definition in own.items() if name in found}


def _texts(settings: Any) -> Iterable[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict):
        for key, value in settings.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(settings, list):
        for value in settings:
            yield from _texts(value)
