"""Further families."""

from families import Family

QUERIES: dict[str, Family] = {}
