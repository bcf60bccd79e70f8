"""Further families."""

from families import Family

TORCHVISION: dict[str, Family] = {}
