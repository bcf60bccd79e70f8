"""How pages of HTML are made: every text that comes from data is escaped."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, a true minus, and no sign where it rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def unsigned(value: float, digits: int = 1) -> str:
    """The same without a plus."""
    return signed(value, digits).removeprefix("+")


ENVIRONMENT = Environment(
    loader=PackageLoader("vlmflow.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters["signed"] = signed
