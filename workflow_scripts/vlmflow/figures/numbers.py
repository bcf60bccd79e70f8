"""Numbers as text."""

from collections.abc import Mapping


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
        row: with the columns mean, low and high.
        digits: after the decimal point.
        unit: the text after the mean, with a space before it.
        signs: whether positive numbers have a plus.
    """
    write = signed if signs else unsigned
    mean, low, high = (write(row[name], digits) for name in ("mean", "low", "high"))
    return f"{mean}{unit} [{low}, {high}]"


def bracketed(low: float | None, high: float | None) -> str:
    """` [low, high]` in whole numbers, with a space before it; empty if there is no interval."""
    return "" if low is None else f" [{low:.0f}, {high:.0f}]"
