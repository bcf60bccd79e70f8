"""All families that are tested."""

from support.families.base import Family
from support.families.fixed_tokens_per_tile import FIXED_TOKENS
from support.families.grids import GRIDS
from support.families.grids_more import MORE_GRIDS
from support.families.hybrids import HYBRIDS
from support.families.queries import QUERIES
from support.families.refused import REFUSED
from support.families.refused_by_name import REFUSED_BY_NAME
from support.families.refused_decoders import REFUSED_DECODERS
from support.families.tiles import TILES
from support.families.tiles_more import MORE_TILES
from support.families.torchvision_only import TORCHVISION
from support.families.vocabularies import VOCABULARIES

FAMILIES: dict[str, Family] = {
    **GRIDS,
    **TILES,
    **HYBRIDS,
    **REFUSED,
    **REFUSED_DECODERS,
    **REFUSED_BY_NAME,
    **MORE_GRIDS,
    **MORE_TILES,
    **FIXED_TOKENS,
    **QUERIES,
    **VOCABULARIES,
    **TORCHVISION,
}
