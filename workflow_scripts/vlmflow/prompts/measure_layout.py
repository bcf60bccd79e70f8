"""Measure where the image tokens of a model lie in the image; see `layouts.measured`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from vlmflow.errors import ForwardError, GeometryError, PromptError

from .layouts.measured import measured_patch_map
from .layouts.patch_map import PatchMap
from .layouts.pixel_sources import pixel_sources, without_blending
from .layouts.reached_tokens import reached_tokens
from .model_inputs import chat_text, image_inputs

# Any text, since only the image's tokens matter.
TEXT = "?"


def measure_patch_map(
    model: PreTrainedModel,
    processor: Any,
    image_token_id: int,
    size: tuple[int, int],
    on_device: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> PatchMap:
    """The patch map of images of `size` (width, height), of any model.

    Args:
        model, processor: of the same model.
        image_token_id: the token that the model replaces by the image's features.
        size: width and height of the image in pixels.
        on_device: puts inputs on the model's device, in its dtype.

    Raises:
        GeometryError: tokens are not patches, or the processor makes no inputs of such an image.
    """
    picking, text = without_blending(processor), chat_text(processor, TEXT)

    def inputs_of(image: Image.Image) -> dict[str, Tensor]:
        inputs, _ = image_inputs(picking, image, text, image_token_id)
        # Some processors give lists as well, or numbers of half precision.
        tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
        return {name: value.double() for name, value in tensors.items() if value.is_floating_point()}

    try:
        sources = pixel_sources(inputs_of, size)
        # Noise, since gradients vanish where all pixels are equal.
        inputs, positions = image_inputs(processor, noise(size), text, image_token_id)
    except PromptError as error:
        raise GeometryError(str(error)) from error
    try:
        reached = reached_tokens(model, on_device(inputs), list(sources), positions)
    except ForwardError as error:
        raise GeometryError(f"the positions of image tokens cannot be measured: {error}") from error
    return measured_patch_map(sources, {name: ids.numpy() for name, ids in reached.items()}, len(positions), size)


def noise(size: tuple[int, int]) -> Image.Image:
    """An image of random pixels, always the same."""
    levels = np.random.default_rng(0).integers(0, 256, size=(size[1], size[0], 3))
    return Image.fromarray(levels.astype(np.uint8))
