"""What is private or hardly documented in `transformers` and relied on; tests/engine/test_internals.py checks it.

A new version of the library that changes one of these is noticed by these tests, and is followed in this file.
"""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import PreTrainedModel, processing_utils
from transformers.cache_utils import DynamicLayer, KVSharingDict, LinearAttentionLayer
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_transforms import get_resize_output_image_size
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.auto.feature_extraction_auto import get_feature_extractor_config
from transformers.models.auto.video_processing_auto import get_video_processor_config
from transformers.models.smolvlm import processing_smolvlm
from transformers.processing_utils import ProcessorMixin
from transformers.utils import ModelOutput, PushToHubMixin

__all__ = [
    "ALL_ATTENTION_FUNCTIONS",
    "ALL_MASK_ATTENTION_FUNCTIONS",
    "DynamicLayer",
    "KVSharingDict",
    "LinearAttentionLayer",
    "ProcessorMixin",
    "PushToHubMixin",
    "attention_of",
    "can_exchange_attention",
    "get_feature_extractor_config",
    "get_patch_output_size",
    "get_resize_output_image_size",
    "get_video_processor_config",
    "grown_inputs",
    "processing_smolvlm",
    "processing_utils",
    "select_best_resolution",
    "set_attention",
    "token_count_of",
]


def attention_of(config: Any) -> str:
    """The name of the attention function that modules with a configuration call."""
    return config._attn_implementation


def set_attention(config: Any, name: str) -> None:
    """Let modules with a configuration call the attention function that is registered as `name`."""
    config._attn_implementation = name


def can_exchange_attention(decoder: Any) -> bool:
    """Whether a decoder's modules call whichever attention function its configuration names."""
    return getattr(decoder, "_supports_attention_backend", False)


def grown_inputs(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A model's inputs other than tokens, such as masks, with one more position, as when it generates."""
    return model._update_model_kwargs_for_generation(ModelOutput(), dict(inputs))


def token_count_of(processor: Any) -> Callable[..., Any] | None:
    """The function with which a processor counts the tokens of images of given sizes; None if it has none."""
    return getattr(processor, "_get_num_multimodal_tokens", None)
