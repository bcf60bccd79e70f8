"""Families that are refused by their configuration: nothing else of them is there, and it is the library's default."""

from functools import partial
from pathlib import Path

from transformers import AutoConfig

from support.families.base import Family
from vlmflow.models.refused_families import REFUSED_FAMILIES


def configuration(folder: Path, name: str) -> None:
    """The default configuration of a family."""
    AutoConfig.for_model(name).save_pretrained(folder)


# Type of model → a word of the message with which it is refused.
BY_THEIR_DECODER = {
    "inkling2": "hybrid",
    "inkling_mm_model": "hybrid",
    "mistral_large4": "hybrid",
    "nemotron_h_omni": "hybrid",
    "pix2struct": "encoder-decoder",
    "pp_formulanet": "encoder-decoder",
    "udop": "encoder-decoder",
    "unlimited_ocr": "hybrid",
    "vision-encoder-decoder": "encoder-decoder",
}

REFUSED_BY_NAME: dict[str, Family] = {
    **{name: Family(partial(configuration, name=name), refused=word) for name, word in BY_THEIR_DECODER.items()},
    **{name: Family(partial(configuration, name=name), refused=f"{name} is not measured") for name in REFUSED_FAMILIES},
}
