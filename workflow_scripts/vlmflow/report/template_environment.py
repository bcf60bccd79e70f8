"""The environment of the page templates; every text from data is escaped."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined


def unbroken(text: str) -> str:
    """The text with intervals that stay on one line."""
    whole = re.sub(r"(\[[^\[\], ]+,) (?=[^\[\], ]+\])", "\\1\N{NO-BREAK SPACE}", text)
    return re.sub(r"(?<=[%\d]) (?=\[)|(?<=layer) (?=\d)", "\N{NO-BREAK SPACE}", whole)


ENVIRONMENT = Environment(
    loader=PackageLoader("vlmflow.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters["unbroken"] = unbroken
