"""Further families of vision-language models."""

from families import Family

FAMILIES: dict[str, Family] = {}
