"""Families that are refused by their configuration: nothing else of them is there, since nothing else is read."""

from pathlib import Path

from transformers import Gemma3nConfig, Gemma4Config, Lfm2VlConfig, MllamaConfig, Qwen3_5Config

from support.families.base import LAYERS, SMALL_TEXT, Family


def qwen_3_5(folder: Path) -> None:
    """Qwen3.5: three of four layers are a recurrence, which is what its configuration takes by default."""
    Qwen3_5Config(text_config=SMALL_TEXT).save_pretrained(folder)


def gemma_4_sharing(folder: Path) -> None:
    """Gemma 4 whose last layers attend with keys of earlier ones."""
    Gemma4Config(text_config={**SMALL_TEXT, "num_kv_shared_layers": 2}).save_pretrained(folder)


def gemma_3n(folder: Path) -> None:
    """Gemma 3n, as published in that."""
    text = {**SMALL_TEXT, "num_kv_shared_layers": 2}
    Gemma3nConfig(text_config=text).save_pretrained(folder)


def mllama(folder: Path) -> None:
    """Llama 3.2 Vision: two of its layers attend to the image instead of the prompt."""
    MllamaConfig(text_config={**SMALL_TEXT, "cross_attention_layers": [1, 3]}).save_pretrained(folder)


def lfm_2(folder: Path) -> None:
    """LFM2-VL: half of its layers are convolutions."""
    text = {**SMALL_TEXT, "model_type": "lfm2", "layer_types": ["conv", "full_attention"] * (LAYERS // 2)}
    Lfm2VlConfig(text_config=text).save_pretrained(folder)


REFUSED: dict[str, Family] = {
    "Qwen3.5": Family(qwen_3_5, refused="hybrid"),
    "Gemma 4 with shared keys": Family(gemma_4_sharing, refused="share"),
    "Gemma 3n": Family(gemma_3n, refused="share"),
    "Mllama": Family(mllama, refused="cross-attention"),
    "LFM2-VL": Family(lfm_2, refused="hybrid"),
}
