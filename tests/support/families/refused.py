"""Families that are refused by their configuration: nothing else of them is there, since nothing else is read."""

from pathlib import Path

from transformers import MllamaConfig

from support.families.base import SMALL_TEXT, Family


def mllama(folder: Path) -> None:
    """Llama 3.2 Vision: two of its layers attend to the image instead of the prompt."""
    MllamaConfig(text_config={**SMALL_TEXT, "cross_attention_layers": [1, 3]}).save_pretrained(folder)


REFUSED: dict[str, Family] = {
    "Mllama": Family(mllama, refused="cross-attention"),
}
