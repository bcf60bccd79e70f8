"""The declaration of a claim: what is measured on which line, and which values of it support the claim."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, FiniteFloat, ValidationError, model_validator

from vlmflow.probes.measures import Measure as EffectMeasure
from vlmflow.settings import ModelName, Name, Strict

PAPERS = Path(__file__).with_name("papers.yaml")

Statistic = Literal[
    "mean",
    "share",
    "value",
    "lowest",
    "highest",
    "minimum",
    "maximum",
    "largest",
    "depth of lowest",
    "depth of highest",
    "share of loss",
    "depth of half rise",
    "onset",
    "begin of drop",
    "end of drop",
    "rise between drops",
    "largest rise between drops",
    "valley",
    "depth of steepest rise",
    "steepness",
    "trend",
    "strongest share",
    "strongest excess",
    "knee found",
    "difference at peak",
    "largest difference",
    "correlation",
    "overlap",
    "phase slope",
    "phase end",
    "phases",
]
TWO_LINES = ("difference at peak", "largest difference", "correlation", "overlap")
JOINT = ("phase slope", "phase end", "phases")
# A statistic → the key that it needs.
NEEDED = {
    "value": "at",
    "share of loss": "part",
    "rise between drops": "drops",
    "largest rise between drops": "drops",
    "strongest share": "share",
    "strongest excess": "share",
    "phase slope": "phase",
    "phase end": "phase",
    **dict.fromkeys(TWO_LINES, "against"),
    **dict.fromkeys(JOINT, "jointly"),
}

# A key that a statistic may have.
OPTIONAL = {"share": "at"}


def _upwards(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError(f"{list(ends)}: the first number must be the smaller one")
    return ends


Depth = Annotated[float, Field(ge=0, le=1)]
Band = Annotated[tuple[Depth, Depth], AfterValidator(_upwards)]
Where = dict[str, str | int | float]


class LineOf(Strict):
    """A line: the means of a probe where some of its columns have these values."""

    probe: str | None = Field(None, description="The claim's name for the probe; by default that of the first line.")
    where: Where = Field(default_factory=dict, description="Column of the probe's rows → the value that a row has.")
    tasks: list[str] | None = Field(None, min_length=1, description="The mean over these tasks.")
    measure: EffectMeasure | None = Field(
        None, description="For a probe of interventions: the measure of their effect; by default change."
    )
    model: Literal["first", "second"] = Field("first", description="second: the claim's `second_model`.")
    layer_mean: bool = Field(False, description="For a probe of maps: the mean map over all layers.")

    @property
    def chosen(self) -> Where:
        """Column → value of all columns that the line names, its measure among them."""
        return self.where if self.measure is None else {**self.where, "quantity": self.measure}


class Measure(LineOf):
    """One number: a statistic of a line, or of several."""

    statistic: Statistic
    depth: Band | None = Field(None, description="Only layers between these shares of the model's depth.")
    at: FiniteFloat | None = Field(None, description="For `value`: the depth, or the position where x is no layer.")
    part: Band | None = Field(None, description="For `share of loss`: the band of depths.")
    drops: tuple[Band, Band] | None = Field(None, description="For `rise between drops`: the bands of the two drops.")
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="For `strongest …`: of the points.")
    phase: Annotated[int, Field(ge=1, le=4)] | None = Field(None, description="For `phase slope`: of four phases.")
    jointly: dict[str, list[str]] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Column → values of the lines on which phases are cut, this one among them.",
    )
    less: LineOf | None = Field(None, description="A line that is subtracted point by point.")
    against: LineOf | None = Field(None, description="The second line of a statistic of two lines.")
    minus: "Measure | None" = Field(None, description="A measure that is subtracted.")
    same_questions: bool = Field(False, description="Only the questions that all lines of the measure have.")
    from_end: bool = Field(False, description="Each line less its own value at its last point.")
    several_sub_words: bool = Field(False, description="Only answers of more than one sub-word.")

    @model_validator(mode="after")
    def _keys_fit_statistic(self) -> "Measure":
        needed = NEEDED.get(self.statistic)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"{needed}: this key is missing; the statistic {self.statistic!r} needs it")
        if (self.phase is None) == (self.statistic in ("phase slope", "phase end")):
            raise ValueError("phase: this key is for the statistics 'phase slope' and 'phase end', and needed by both")
        for column, values in (self.jointly or {}).items():
            if self.where.get(column) not in values:
                raise ValueError(f"jointly: give {column} under where as well, one of {', '.join(values)}")
        for key in dict.fromkeys(NEEDED.values()):
            fitting = [statistic for statistic, each in (*NEEDED.items(), *OPTIONAL.items()) if each == key]
            if getattr(self, key) is not None and self.statistic not in fitting:
                raise ValueError(f"{key}: only for the statistic {' or '.join(map(repr, fitting))}; remove this key")
        return self

    @model_validator(mode="after")
    def _bands_and_phases(self) -> "Measure":
        if self.drops is not None and self.drops[0][1] > self.drops[1][0]:
            raise ValueError("drops: the first band must end before the second one begins")
        for key in ("depth", "less", "from_end", "same_questions", "several_sub_words"):
            if self.statistic in JOINT and getattr(self, key):
                raise ValueError(f"{key}: phases are cut on whole lines; remove this key")
        return self

    @model_validator(mode="after")
    def _difference_is_of_alike(self) -> "Measure":
        if self.minus is not None:
            if {self.statistic, self.minus.statistic} & set(JOINT):
                raise ValueError(f"minus: statistics of phases ({', '.join(JOINT)}) cannot be subtracted")
            for key in ("same_questions", "several_sub_words"):
                if getattr(self.minus, key):
                    raise ValueError(f"minus.{key}: give this key outside of minus, for both measures")
        return self

    def lines(self, probe: str | None) -> Iterator[tuple[str | None, LineOf]]:
        """(name of its probe, line) of all lines of the measure; `probe` is that of lines which name none."""
        own = self.probe or probe
        yield own, self
        yield from ((each.probe or own, each) for each in (self.less, self.against) if each is not None)
        if self.minus is not None:
            yield from self.minus.lines(own)


class Test(Measure):
    """A measure, and the values of it that support the claim.

    Attributes:
        above, below, within: the whole interval of the measure must lie there; exactly one of them is given.
        range_over, trend_over: a column, or task: the range of the measure over its values, or Spearman's correlation
            of the measure with its values; the column has numbers.
    """

    above: FiniteFloat | None = None
    below: FiniteFloat | None = None
    within: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_upwards)] | None = None
    range_over: Literal["task"] | None = None
    trend_over: str | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> "Test":
        if sum(rule is not None for rule in (self.above, self.below, self.within)) != 1:
            raise ValueError("above, below, within: give exactly one of these keys, the values that support the claim")
        return self


class Claim(Strict):
    """A claim: a sentence, and tests all of which support it."""

    text: str = Field(min_length=1, description="The claim in one sentence.")
    paper: str = Field("", description="The paper that makes it: flow, phase, thesis, or a user's own.")
    source: str = Field("", description="Where in the paper.")
    printed: str = Field("", description="The number that the paper prints, if it prints one.")
    tests: list[Test] = Field(default_factory=list, description="All of them must hold.")
    all_of: list[str] = Field(default_factory=list, description="Other claims of the study, all of which must hold.")
    each: list[str] = Field(["task"], description="A verdict for each task, or for each value of a column.")
    values: dict[str, list[str | int | float]] = Field(
        default_factory=dict, description="Column of `each` → only these values of it."
    )
    tasks: list[str] | None = Field(None, min_length=1, description="Only these tasks; by default all of the probe.")
    models: list[ModelName] | None = Field(None, min_length=1, description="Only these models.")
    second_model: ModelName | None = Field(None, description="The model with which others are compared.")
    pairs: bool = Field(False, description="A verdict for each pair of models.")

    @model_validator(mode="after")
    def _something_is_tested(self) -> "Claim":
        if bool(self.tests) == bool(self.all_of):
            raise ValueError("tests, all_of: give one of the two; a claim is tested itself, or it sums up other claims")
        return self

    @model_validator(mode="after")
    def _probes_are_named(self) -> "Claim":
        if self.tests and self.tests[0].probe is None:
            raise ValueError("tests.0.probe: this key is missing; it names the probe on whose rows the claim is tested")
        for column in self.values:
            if column not in self.each:
                raise ValueError(f"values.{column}: there are verdicts for values of {', '.join(self.each)} alone")
        if self.pairs and not self.needs_second_model:
            raise ValueError("pairs: no line has `model: second`, so that no two models are compared; remove this key")
        return self

    @property
    def lines(self) -> list[tuple[str, LineOf]]:
        """(the claim's name for its probe, line) of all lines of all tests."""
        first = self.tests[0].probe if self.tests else None
        return [(probe or "", line) for test in self.tests for probe, line in test.lines(first)]

    @property
    def probes(self) -> list[str]:
        """The claim's names for its probes."""
        return list(dict.fromkeys(probe for probe, _ in self.lines))

    @property
    def needs_second_model(self) -> bool:
        """Whether a line is that of a second model."""
        return any(line.model == "second" for _, line in self.lines)

    @property
    def compares_lines(self) -> bool:
        """Whether a test has a second line."""
        return any(test.less is not None or test.against is not None for test in self.tests)


@cache
def paper_claims() -> dict[str, Claim]:
    """The claims of the three papers, by their names."""
    declared = yaml.safe_load(PAPERS.read_text(encoding="utf-8"))
    return {name: Claim.model_validate(claim) for name, claim in declared["claims"].items()}


class StudyClaim(Strict):
    """A claim of a study: one of the papers, by its name, or one of the user's own; judged on the study's probes."""

    claim: str | None = Field(None, description="A claim of the papers; by default the one with this entry's name.")
    probes: dict[str, Name | list[Name]] = Field(
        default_factory=dict, description="The claim's name for a probe → the study's probe, or probes of other models."
    )
    where: Where = Field(default_factory=dict, description="Column → value, for every line whose probe has the column.")
    against: Where = Field(default_factory=dict, description="As `where`, for the second line of a statistic of two.")
    values: dict[str, list[str | int | float]] | None = Field(
        None, description="Column for whose values there are verdicts → only these values of it."
    )
    models: list[ModelName] | None = Field(None, min_length=1, description="Only these models.")
    second_model: ModelName | None = Field(None, description="The model with which others are compared.")
    tasks: list[str] | None = Field(None, min_length=1, description="Only these tasks.")
    own: Claim | None = Field(None, description="The declaration of a claim of your own.")

    def declared(self, name: str) -> Claim:
        """The claim that the entry `name` of a study means.

        Raises:
            ValueError: there is no such claim; the message names the key.
        """
        known = paper_claims()
        if self.own is not None and self.claim is not None:
            raise ValueError(f"claims.{name}: give either claim, a name, or own, a declaration")
        claim = self.own or known.get(self.claim or name)
        if claim is None:
            raise ValueError(
                f"claims.{name}: there is no claim {self.claim or name!r} of the papers; choose from "
                f"{', '.join(known)}, or declare it under own"
            )
        keys = ("models", "second_model", "tasks", "values")
        changed = {key: value for key in keys if (value := getattr(self, key)) is not None}
        try:
            return Claim.model_validate(claim.model_dump() | changed)
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"claims.{name}.{told}") from error

    def probes_of(self, role: str) -> list[str]:
        """The study's probes that a claim's name for a probe means."""
        given = self.probes.get(role, role)
        return [given] if isinstance(given, str) else list(given)
