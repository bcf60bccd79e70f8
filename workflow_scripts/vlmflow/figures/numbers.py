"""Numbers as text."""

from collections.abc import Iterable, Mapping


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign: a true minus, and no sign where the number rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def unsigned(value: float, digits: int = 1) -> str:
    """A number without a plus."""
    return signed(value, digits).removeprefix("+")


def with_interval(row: Mapping[str, float], digits: int = 2, unit: str = "", signs: bool = False) -> str:
    """`mean [low, high]` of a summary's row.

    Args:
        row: of the lowest or highest mean of a line; see `ends`.
        digits: after the decimal point.
        unit: the text after the mean, with a space before it.
        signs: whether positive numbers have a plus.
    """
    write = signed if signs else unsigned
    mean, low, high = (write(value, digits) for value in (row["mean"], *ends(row)))
    return f"{mean}{unit} [{low}, {high}]"


def ends(row: Mapping[str, float]) -> tuple[float, float]:
    """The interval of a summary's row: that of the extreme where it is the lowest or highest mean of a line."""
    if row.get("extreme_low") is not None:
        return row["extreme_low"], row["extreme_high"]
    return row["low"], row["high"]


def bracketed(low: float | None, high: float | None) -> str:
    """` [low, high]` in whole numbers, with a space before it; empty if there is no interval."""
    return "" if low is None else f" [{low:.0f}, {high:.0f}]"


def span(values: Iterable[float], digits: int = 0) -> str:
    """`2 to 5`, or `2` if all values are written alike."""
    written = sorted(values)
    ends = [unsigned(value, digits) for value in (written[0], written[-1])]
    return " to ".join(dict.fromkeys(ends))
