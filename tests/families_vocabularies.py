"""Further families."""

from families import Family

VOCABULARIES: dict[str, Family] = {}
