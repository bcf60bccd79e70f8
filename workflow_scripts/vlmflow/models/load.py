"""Load a vision-language model, or a language model alone, from a folder or from the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from vlmflow.engine.batch_size import ran_out
from vlmflow.errors import HubError, ModelError, ProcessorError

from .diagnose import REMEDY, diagnose_model
from .hub import path_to_load
from .processor import load_processor, load_text_processor
from .supported import check_config, check_family
from .vision_language import LanguageModel, VisionLanguageModel

V = TypeVar("V", bound=VisionLanguageModel)
T = TypeVar("T", bound=LanguageModel)
NO_MEMORY = "{path}: memory does not suffice for the model's weights ({error}); a smaller dtype, or `gpus: 2`, may help"
DTYPES = ("float32", "float16", "bfloat16", "float64")


def load_model(
    path: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str = "own",
    fit: str = "own",
    model_class: type[V] = VisionLanguageModel,  # type: ignore[assignment]
) -> V:
    """Load a vision-language model from a folder or from the hub; safetensors only, and no code of the model's own.

    Args:
        path: a folder as `save_pretrained` writes it, or a hub id.
        device: such as "cpu" or "cuda:0"; by default a GPU, if there is one. "auto" spreads the layers over all GPUs
            that are visible to this process.
        dtype: one of float32, float16, bfloat16, float64; by default the weights' own on a GPU, float32 on a CPU.
        revision: branch, tag or commit of a hub id.
        template: the conversation around the question: "own", a name of `models.templates.TEMPLATES`, or a .jinja file.
        fit: how an image that is not square is fitted into a square: "own", "pad" or "crop".
        model_class: the class of the returned object, which is made of model and processor.

    Raises:
        ModelError: there is no such model, its weights are not safetensors or not complete, memory does not suffice
            for them, it is of a kind that cannot be measured, or its processor cannot be loaded.
    """
    dtype, placement = _placement(path, device, dtype)
    with explaining_errors(path, "vision-language model"):
        path = path_to_load(path, revision)
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
        check_family(config)
        check_config(config)
        processor = load_processor(path, revision=revision, template=template, fit=fit)
        model = _load_weights(AutoModelForImageTextToText, path, dtype=dtype, revision=revision, **placement)
        vlm = model_class(model, processor)
        _ = vlm.image_token_id  # a model without it is refused now, and not at every question
        return vlm


def load_language_model(
    path: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    template: str = "own",
    model_class: type[T] = LanguageModel,  # type: ignore[assignment]
) -> T:
    """Load a language model that reads captions in place of an image: a language model alone, or a vision-language
    model, which is then used without an image.

    Args:
        path, device, dtype, revision, template, model_class: as in `load_model`.

    Raises:
        ModelError: as in `load_model`.
    """
    dtype, placement = _placement(path, device, dtype)
    with explaining_errors(path, "language model"):
        path = path_to_load(path, revision)
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
        check_config(config)
        takes_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        load = load_processor if takes_images else load_text_processor
        loader = AutoModelForImageTextToText if takes_images else AutoModelForCausalLM
        processor = load(path, revision=revision, template=template)
        model = _load_weights(loader, path, dtype=dtype, revision=revision, **placement)
        return model_class(model, processor)


@contextmanager
def explaining_errors(path: str | Path, what: str) -> Iterator[None]:
    """Turn errors in the block into a `ModelError` that names the file and says what to do.

    Args:
        path: of the model.
        what: the kind of model that was expected.
    """
    try:
        yield
    except MemoryError:
        raise
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (HubError, ProcessorError) as error:
        raise ModelError(str(error)) from error
    except Exception as error:  # with a broken file the library may fail anywhere
        if ran_out(error):
            raise ModelError(NO_MEMORY.format(path=path, error=error)) from error
        raise ModelError(
            f"{path}: no {what} with safetensors weights could be loaded: {diagnose_model(path, error)}"
        ) from error


def _load_weights(loader: Any, path: str | Path, **settings: Any) -> Any:
    """The model, if all of its weights are there; the library itself would only warn, and fill in random numbers."""
    try:
        model, report = loader.from_pretrained(path, output_loading_info=True, **settings)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        # If only the image encoder does not support `sdpa`, the library chooses for each part by itself.
        settings["attn_implementation"] = None
        model, report = loader.from_pretrained(path, output_loading_info=True, **settings)
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"the weights are incomplete: {len(missing)} are missing, such as {missing[0]}; {REMEDY}")
    return model


def _placement(path: str | Path, device: str | None, dtype: str | None) -> tuple[str, dict[str, Any]]:
    """(dtype of the weights, the other settings with which a model is loaded: its device, and safeguards)."""
    if dtype is not None and dtype not in DTYPES:
        raise ModelError(f"{path}: there is no dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    # The library's product of all experts' matrices at once does not support float64.
    experts = {"experts_implementation": "eager"} if dtype == "float64" else {}
    return dtype or ("float32" if device.startswith("cpu") else "auto"), {
        "use_safetensors": True,
        "trust_remote_code": False,
        "attn_implementation": "sdpa",
        "device_map": "auto" if device == "auto" else {"": device},
        **experts,
    }
