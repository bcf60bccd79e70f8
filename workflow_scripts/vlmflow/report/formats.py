"""Tables as text for a paper: Markdown, and LaTeX for the package booktabs."""

import polars as pl
from tabulate import tabulate

from vlmflow.figures.numbers import unsigned

LONGEST = 200  # characters of a cell
DIGITS = 4  # significant, of a number that is not whole


def markdown(table: pl.DataFrame) -> str:
    """The table in GitHub's Markdown."""
    rows = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in _cells(table)]
    return _written(rows, table.columns, "github", table)


def latex(table: pl.DataFrame) -> str:
    """The table in LaTeX; it needs \\usepackage{booktabs}."""
    rows = [[cell.replace("−", "-") for cell in row] for row in _cells(table)]
    headers = [name.replace("_", " ") for name in table.columns]
    return _written(rows, headers, "latex_booktabs", table)


def _written(rows: list[list[str]], headers: list[str], tablefmt: str, table: pl.DataFrame) -> str:
    sides = ["right" if kind.is_numeric() else "left" for kind in table.dtypes] if len(table) else None
    return tabulate(rows, headers=headers, tablefmt=tablefmt, disable_numparse=True, colalign=sides) + "\n"


def _cells(table: pl.DataFrame) -> list[list[str]]:
    return [[_text(value) for value in row] for row in table.iter_rows()]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return unsigned(value, 0) if value == int(value) else f"{value:.{DIGITS}g}".replace("-", "−")
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
