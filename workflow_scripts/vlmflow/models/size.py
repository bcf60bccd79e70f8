"""The size of a model, on which its cost depends, by its configuration alone."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from .diagnose import read_config

# Numbers of tokens of a usual question, and of the template after it.
QUESTION, TEMPLATE = 15, 30
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Size:
    """The numbers on which the cost of a model depends.

    Attributes:
        parameters: number of all parameters, including the image encoder's.
        layers, width, vocabulary: numbers of the decoder.
        image_tokens: number of tokens of the largest image.
        heads: number of heads of each layer.
    """

    parameters: int
    layers: int
    width: int
    vocabulary: int
    image_tokens: int
    heads: int = 32

    @classmethod
    def of(cls, config: Mapping[str, Any], weights: int) -> Self:
        """The size by a model's configuration and the bytes of its weight files; a large model's values replace missing
        ones.

        If the number of tokens depends on the image, LLaVA-NeXT's largest number is taken.
        """
        text = config.get("text_config") or config
        stored = config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype")
        return cls(
            parameters=weights // BYTES.get(str(stored), 2),
            layers=text.get("num_hidden_layers") or 40,
            width=text.get("hidden_size") or 5120,
            vocabulary=text.get("vocab_size") or 32_000,
            image_tokens=_image_tokens(config),
            heads=text.get("num_attention_heads") or 32,
        )

    def saved(self) -> dict[str, int]:
        """The numbers as a dictionary that `Size(**…)` reads."""
        return asdict(self)

    @property
    def tokens(self) -> int:
        """The number of positions of a prompt."""
        return self.image_tokens + QUESTION + TEMPLATE

    @property
    def forward(self) -> float:
        """The number of floating-point operations of one forward of a prompt."""
        return 2.0 * self.parameters * self.tokens


# The size that is assumed while nothing is known: LLaVA-1.5-13b with LLaVA-NeXT's images.
LARGE = Size(parameters=13_000_000_000, layers=40, width=5120, vocabulary=32_000, image_tokens=2880)


def _image_tokens(config: Mapping[str, Any]) -> int:
    """Number of tokens of the largest image, by the keys of several families of models; 0 without an image encoder."""
    vision = config.get("vision_config")
    if not vision:
        return 0 if "vision_config" not in config else LARGE.image_tokens
    for name in ("num_query_tokens", "mm_tokens_per_image"):
        if isinstance(config.get(name), int):
            return int(config[name])
    size, patch = (_side(vision.get(name)) for name in ("image_size", "patch_size"))
    if not (size and patch):
        return int(config.get("image_seq_length") or LARGE.image_tokens)
    views = [1, *(1 + math.ceil(h * w / size**2) for h, w in config.get("image_grid_pinpoints") or [])]
    merged = config.get("scale_factor") or 1  # patches per side that become one token
    return max(views) * int(size / patch / merged) ** 2


def _side(value: Any) -> float:
    """A number, or the larger of two numbers; 0 if there is none."""
    sides = value if isinstance(value, list | tuple) else [value]
    return float(max((side for side in sides if isinstance(side, int | float)), default=0))


def folder_size(folder: Path) -> Size:
    """The size of a model in a folder as `save_pretrained` writes it."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Size.of(read_config(folder), weights)
