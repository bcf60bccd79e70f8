"""Norms of the image encoder's features, one per image token; [flow] appendix E."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmflow.errors import ModelError, NotApplicableError

from .forward import naming_the_model
from .hooks import removed_after
from .kept_features import encoded_anew
from .modules import find_projector


@torch.inference_mode()
def feature_norms(model: PreTrainedModel, inputs: dict[str, Tensor], image: Tensor) -> list[float | None]:
    """The Euclidean norm of the feature behind each of the image's tokens, before the projector; None for a token that
    is not a patch, such as a row newline.

    The image is encoded twice, with a projector that returns the norms of its inputs instead of embeddings, the second
    time with the opposite sign.  So the model itself arranges the norms into tokens (tiles, rows, newlines) as it
    arranges its features.  A number that does not change its sign belongs to no patch.

    Args:
        model: one whose projector takes each feature by itself, as in the LLaVA family.
        inputs: of a prompt.
        image: positions of the image's tokens.

    Raises:
        NotApplicableError: the model has no such projector.
        ModelError: the model makes another number of features than there are tokens.
    """
    projector = find_projector(model)
    packed = [_packed_norms(model, projector, inputs, sign) for sign in (1.0, -1.0)]
    if any(len(values) != len(image) for values in packed):
        raise ModelError(
            f"{type(model).__name__} made {len(packed[0])} features of an image that has {len(image)} tokens"
        )
    pairs = zip(*(values.tolist() for values in packed), strict=True)
    return [plus if plus == -minus else None for plus, minus in pairs]


def _packed_norms(model: PreTrainedModel, projector: nn.Module, inputs: dict[str, Tensor], sign: float) -> Tensor:
    """One number per token of the image: the projector returns the norm of its input, times `sign`."""

    def after(_module: nn.Module, arguments: tuple, output: Tensor) -> Any:
        if not isinstance(output, Tensor) or arguments[0].shape[:-1] != output.shape[:-1]:
            raise NotApplicableError(
                f"does not apply: {type(projector).__name__} joins features, so no token corresponds to one "
                "feature of the encoder"
            )
        norms = torch.linalg.vector_norm(arguments[0].double(), dim=-1, keepdim=True)
        return sign * norms.expand(output.shape).float()

    text_only = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
    images = {name: value for name, value in inputs.items() if name not in text_only}
    with removed_after([projector.register_forward_hook(after)]), encoded_anew(model), naming_the_model(model):
        features = model.get_image_features(**images, return_dict=True).pooler_output
    return torch.cat(list(features))[:, 0]
