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
    "inkling2": "nor a recurrence",
    "inkling_mm_model": "nor a recurrence",
    "mistral_large4": "nor a recurrence",
    "nemotron_h_omni": "nor a recurrence",
    "pix2struct": "encoder-decoder",
    "pp_formulanet": "encoder-decoder",
    "udop": "encoder-decoder",
    "unlimited_ocr": "nor a recurrence",
    "vision-encoder-decoder": "encoder-decoder",
}

# Of GIT there is a complete model.
NAMES = [name for name in REFUSED_FAMILIES if name != "git"]

REFUSED_BY_NAME: dict[str, Family] = {
    **{name: Family(partial(configuration, name=name), refused=word) for name, word in BY_THEIR_DECODER.items()},
    **{name: Family(partial(configuration, name=name), refused=f"{name} is not measured") for name in NAMES},
}
