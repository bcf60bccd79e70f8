"""A claim's tests in words."""

from .declared import LineOf, Measure, Test, Where


def test_text(test: Test, where: Where, against: Where) -> str:
    """What is measured, as one phrase.

    Args:
        test: of a claim.
        where: column → value, for lines that say nothing of their own.
        against: the same, for the second line of a statistic of two.
    """
    text = _measure(test, where, against)
    if test.range_over is not None:
        text = f"range over tasks of: {text}"
    if test.trend_over is not None:
        text = f"rank correlation with {test.trend_over} of: {text}"
    return text


def rule_text(test: Test) -> str:
    """Where the whole interval must lie."""
    if test.above is not None:
        return f"above {test.above:g}"
    if test.below is not None:
        return f"below {test.below:g}"
    low, high = test.within or (0.0, 0.0)
    return f"within {low:g} to {high:g}"


def _measure(measure: Measure, where: Where, against: Where) -> str:
    text: str = measure.statistic
    if measure.at is not None:
        text += f" at {measure.at:g}"
    if measure.phase is not None:
        text += f" {measure.phase} of 4"
    if measure.share is not None:
        text += f" ({100 * measure.share:g} %)"
    for band in (measure.part, *(measure.drops or ())):
        if band is not None:
            text += f" [{band[0]:g}, {band[1]:g}]"
    text += f" of {_line(measure, where)}"
    if measure.less is not None:
        text += f" less {_line(measure.less, where | against)}"
    if measure.against is not None:
        text += f" and {_line(measure.against, where | against)}"
    if measure.depth is not None:
        text += f", depths {measure.depth[0]:g} to {measure.depth[1]:g}"
    if measure.from_end:
        text += ", each less its value at the end"
    if measure.several_sub_words:
        text += ", answers of several sub-words"
    if measure.minus is not None:
        text += f", minus {_measure(measure.minus, where, against)}"
    return text


def _line(line: LineOf, where: Where) -> str:
    """A line in words: its own values of columns, and those of the scope for other columns."""
    named = ", ".join(str(value) for value in (where | line.chosen).values()) or "the line"
    probe = f" ({line.probe})" if line.probe else ""
    tasks = f" in {', '.join(line.tasks)}" if line.tasks else ""
    second = " of the second model" if line.model == "second" else ""
    layers = ", mean over layers" if line.layer_mean else ""
    return f"{named}{probe}{second}{tasks}{layers}"
