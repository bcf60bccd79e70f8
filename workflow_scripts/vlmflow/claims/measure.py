"""The resamples of one measure of a claim, from the rows of single questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from vlmflow.analysis.bootstrap import Resampled, quantile_ends
from vlmflow.analysis.line import Line, mean_of

from .declared import LineOf, Measure, Test, Where
from .margins import MARGINS, spread
from .percentages import with_rare_events
from .sources import Source
from .statistics import JOINT, OF_LINE, OF_LINE_AND_KEYS, OF_TWO_LINES, NotDefinedError, rank_correlation

MOST_UNDEFINED = 0.05  # share of the resamples in which a statistic need not be defined


@dataclass(frozen=True)
class Scope:
    """Where a claim is measured.

    Attributes:
        model, second: the model, and the one with which it is compared, if any.
        tasks: those over which a mean is taken; one for a verdict of one task.
        where: column → value, for every line.
        against: the same, for the second line of a statistic of two.
        half: only one half of the images, 0 or 1.
    """

    model: str
    second: str | None
    tasks: tuple[str, ...]
    where: Where = field(default_factory=dict)
    against: Where = field(default_factory=dict)
    half: int | None = None


@dataclass(frozen=True)
class Only:
    """The questions to which a measure is limited.

    Attributes:
        several_sub_words: only those with an answer of more than one sub-word.
        common: task → only these questions; all of a task that is not in it.
    """

    several_sub_words: bool = False
    common: Mapping[str, pl.Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A statistic, with the number of questions and images behind it.

    Attributes:
        estimates: (1 or 2, 1 + resamples) in the sample and in every resample; a second row if the first one exceeds
            the truth, with points that are chosen on one half of the images and measured on the other.
        questions, images: behind it.
    """

    estimates: np.ndarray
    questions: int
    images: int

    @property
    def values(self) -> np.ndarray:
        """(1 + resamples) with all images."""
        return self.estimates[0]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; that of both rows, where there are two."""
        low, high = quantile_ends(self.estimates.T)
        return float(low.min()), float(high.max())


class Measuring:
    """Measures claims on the rows of a study.

    Args:
        sources: a claim's name for a probe → the sources that it means, of different models.
        layers: model → number of its layers.
    """

    def __init__(self, sources: Mapping[str, Sequence[Source]], layers: Mapping[str, int]) -> None:
        self.sources, self.layers = sources, layers

    def source(self, role: str, model: str) -> Source:
        """The source of a model's rows.

        Raises:
            NotDefinedError: there is none.
        """
        found = [source for source in self.sources[role] if model in source.models()]
        if not found:
            raise NotDefinedError(f"{model} is not among the models of the probe")
        return found[0]

    def test(self, test: Test, scope: Scope, role: str) -> Measured:
        """The measure of a test, or its range or trend over the values of a column.

        Args:
            test: as the claim declares it.
            scope: where it is measured.
            role: the claim's name for the probe of lines that name none.

        Raises:
            NotDefinedError: it cannot be measured; the message gives the reason.
        """
        if test.range_over is not None:
            return self._range(test, scope, role)
        if test.trend_over is not None:
            return self._trend(test, test.trend_over, scope, role)
        return self.measure(test, scope, role)

    def _range(self, test: Test, scope: Scope, role: str) -> Measured:
        """The highest less the lowest value over tasks, with all images, and found on one half of them."""
        own = test.model_copy(update={"tasks": None})
        scopes = [replace(scope, tasks=(task,)) for task in test.tasks or scope.tasks]
        if len(scopes) < 2:
            raise NotDefinedError("there is only one task")
        parts, *halves = (
            [self.measure(own, replace(each, half=half), role) for each in scopes] for half in (None, 0, 1)
        )
        whole, first, second = (np.stack([part.values for part in each], axis=1) for each in (parts, *halves))
        found = Resampled(whole, np.stack([first, second])).crossed(spread)
        return _together(parts, np.ptp(whole, axis=1), np.maximum(found, 0))

    def _trend(self, test: Test, column: str, scope: Scope, role: str) -> Measured:
        values = self.values_of(column, scope, test.probe or role)
        if any(isinstance(value, str) for value in values):
            raise NotDefinedError(f"{column} has no numbers, with which there could be a trend")
        if len(values) < 3:
            raise NotDefinedError(f"there are only {len(values)} values of {column}")
        scopes = [replace(scope, where={**scope.where, column: value}) for value in values]
        parts = [self.measure(test, each, role) for each in scopes]
        each = np.stack([part.values for part in parts], axis=1)
        return _together(parts, rank_correlation(each, np.broadcast_to(np.array(values, float), each.shape)))

    def values_of(self, column: str, scope: Scope, role: str) -> list[float]:
        """The values of a column of a probe's rows, in their order."""
        source = self.source(role, scope.model)
        values: set[float] = set()
        for task in scope.tasks:
            rows = source.read(scope.model, task)
            values |= set(rows[column]) if column in rows.columns else set()
        if not values:
            raise NotDefinedError(f"there are no rows with the column {column}")
        return sorted(values)

    def measure(self, measure: Measure, scope: Scope, role: str, only: "Only | None" = None) -> Measured:
        """The resamples of a measure; see `test`.

        Args:
            measure, scope, role: see `test`.
            only: the questions to which the measure is limited; by default as it says itself.
        """
        measured = self._measured(measure, scope, role, only)
        if measure.statistic != "share":
            return measured
        difference = measure.minus is not None
        values = with_rare_events(measured.values, measured.images, difference)
        return replace(measured, estimates=values[None])

    def _measured(self, measure: Measure, scope: Scope, role: str, only: "Only | None") -> Measured:
        own = measure.probe or role
        only = only or Only(measure.several_sub_words, self._common(measure, scope, own))
        lines = [self._line(spec, scope, own, only, where) for spec, where in _own_lines(measure, scope)]
        if measure.from_end:
            lines = [line.from_end() for line in lines]
        line = lines[0].combined(lines[1], np.subtract) if measure.less is not None else lines[0]
        line = line.within(measure.depth)
        if len(line.x) == 0:
            raise NotDefinedError("the model has no layer at this depth")
        if measure.statistic in JOINT:
            estimates = [JOINT[measure.statistic](*self._joint(measure, scope, own), measure)]
        else:
            estimates = _estimates(measure, line, lines[-1])
        measured = Measured(np.stack(estimates), line.questions, line.images)
        if measure.minus is None:
            return measured
        other = self._measured(measure.minus, scope, own, only)
        less = measured.estimates - other.estimates  # one row, or as many as the other one has
        return _together([measured, other], *less)

    def _common(self, measure: Measure, scope: Scope, role: str) -> dict[str, pl.Series]:
        """Task → the questions that all lines of a measure have; empty if it is not limited to these."""
        if not measure.same_questions:
            return {}
        common = {}
        for task in measure.tasks or scope.tasks:
            rows = [
                self._rows(each, scope, role, task, measure.several_sub_words, further)[1]
                for each, further in _all_lines(measure, scope)
            ]
            shared = set(rows[0]["question_id"]).intersection(*(each["question_id"] for each in rows[1:]))
            common[task] = pl.Series(sorted(shared), dtype=pl.String)
        return common

    def _rows(
        self, spec: LineOf, scope: Scope, role: str, task: str, several_sub_words: bool, further: Where | None = None
    ) -> tuple[Source, pl.DataFrame, str]:
        """(source, rows of a line, model) in one task."""
        model = scope.model if spec.model == "first" else scope.second
        if model is None:
            raise NotDefinedError("the study names no second model")
        source = self.source(spec.probe or role, model)
        own = {column: value for column, value in {**scope.where, **(further or {})}.items() if column in source.by}
        return source, source.rows(model, task, {**own, **spec.chosen}, several_sub_words, spec.layer_mean), model

    def _line(self, spec: LineOf, scope: Scope, role: str, only: "Only", further: Where | None = None) -> Line:
        lines = []
        for task in spec.tasks or scope.tasks:
            source, rows, model = self._rows(spec, scope, role, task, only.several_sub_words, further)
            if task in only.common:
                rows = rows.filter(pl.col("question_id").is_in(only.common[task].implode()))
                source.check_images(rows, task)
            lines.append(source.line(rows, self.layers[model]))
        line = mean_of(lines) if len(lines) > 1 else lines[0]
        return line if scope.half is None else line.half(scope.half)

    def _joint(self, measure: Measure, scope: Scope, role: str) -> tuple[list[Line], int]:
        """(the lines on which phases are cut, which of them is the measure's own)."""
        ((column, values),) = (measure.jointly or {}).items()
        own = {"probe": measure.probe, "tasks": measure.tasks, "model": measure.model}
        specs = [LineOf.model_validate({**own, "where": {**measure.chosen, column: value}}) for value in values]
        return [self._line(spec, scope, role, Only()) for spec in specs], values.index(str(measure.where[column]))


def _own_lines(measure: Measure, scope: Scope) -> list[tuple[LineOf, Where]]:
    """(line, further values of columns) of a measure: its own, and the one that is subtracted or compared."""
    others = [each for each in (measure.less, measure.against) if each is not None]
    return [(measure, {}), *((each, scope.against) for each in others)]


def _all_lines(measure: Measure, scope: Scope) -> list[tuple[LineOf, Where]]:
    """As `_own_lines`, with those of the measure that is subtracted."""
    return _own_lines(measure, scope) + (_all_lines(measure.minus, scope) if measure.minus is not None else [])


def _estimates(measure: Measure, line: Line, other: Line) -> list[np.ndarray]:
    """The rows of `Measured.estimates` for a statistic of one or two lines."""
    statistic = measure.statistic
    if statistic == "largest difference":
        line = line.combined(other, np.subtract)
    if statistic in MARGINS:
        find = MARGINS[statistic](line, measure)
        return [find(line.values.whole, line.values.whole), line.values.crossed(find)]
    if statistic in OF_LINE:
        return [OF_LINE[statistic](line)]
    if statistic in OF_LINE_AND_KEYS:
        return [OF_LINE_AND_KEYS[statistic](line, measure)]
    return [OF_TWO_LINES[statistic](line, other)]


def _together(parts: Sequence[Measured], *estimates: np.ndarray) -> Measured:
    return Measured(np.stack(estimates), max(part.questions for part in parts), max(part.images for part in parts))


def defined(measured: Measured) -> Measured:
    """The measure without the resamples in which it is not defined.

    Raises:
        NotDefinedError: it is not defined in the sample, or in more than a twentieth of the resamples.
    """
    estimates = measured.estimates.astype(float)
    finite = np.isfinite(estimates).all(axis=0)
    if not finite[0]:
        reasons = "a line is constant, has no drop or no depths, or all images are in one half"
        raise NotDefinedError(f"the statistic is not defined here: {reasons}")
    if np.mean(~finite) > MOST_UNDEFINED:
        raise NotDefinedError(f"the statistic is not defined in {np.mean(~finite):.0%} of the resamples")
    return replace(measured, estimates=estimates[:, finite])
