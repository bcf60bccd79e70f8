"""Check that a model's processor and its configuration agree on how an image becomes tokens.

Processors that were saved by older releases or by other tools lack some values, which are taken from the configuration.
Where both have a value and the two differ, images would be mapped to other tokens than the image encoder makes,
sometimes without any error; such a model is refused when it is loaded.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PreTrainedConfig

from vlmflow.engine.internals import ProcessorMixin
from vlmflow.errors import ProcessorMismatchError

# Settings by which processors of LLaVA's kind count an image's tokens; only this kind has the last one.
PATCH, STRATEGY, EXTRA = "patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"


def complete_processor(processor: Any, config: PreTrainedConfig, path: str | Path, revision: str | None = None) -> None:
    """Give a processor the values that it lacks, from the model's configuration, and compare the others.

    Raises:
        ProcessorMismatchError: the two contradict each other, or a value is in neither.
    """
    _check_image_token(processor, config)
    if not hasattr(processor, EXTRA) or getattr(config, "vision_config", None) is None:
        return  # a processor of another kind, which does not count patches
    saved, _ = ProcessorMixin.get_processor_dict(path, revision=revision)
    vision, strategy = config.vision_config, getattr(config, STRATEGY, "default")
    extra = _extra_tokens(vision)
    wanted: dict[str, Any] = {PATCH: getattr(vision, PATCH, None), STRATEGY: strategy, EXTRA: extra}
    for key, value in wanted.items():
        if saved.get(key) is None:
            if key == EXTRA and value is None:
                continue  # the encoder could not be called; the processor's own default may be right
            if value is None:
                raise ProcessorMismatchError(
                    f"processor_config.json lacks {key}, and config.json does not give it; add it"
                )
            setattr(processor, key, value)
    if wanted[PATCH] not in (None, processor.patch_size):
        raise _contradiction(PATCH, processor.patch_size, f"vision_config.{PATCH}", wanted[PATCH])
    if extra is not None and strategy is not None:
        _check_count(processor, extra, strategy)
    _check_size(processor, vision)


def _check_count(processor: Any, extra: int, strategy: str) -> None:
    given, given_strategy = getattr(processor, EXTRA), getattr(processor, STRATEGY)
    counted, made = _kept(given, given_strategy), _kept(extra, strategy)
    if counted != made:
        raise ProcessorMismatchError(
            f"processor_config.json ({EXTRA}: {given}, {STRATEGY}: {given_strategy}) counts {counted:+d} tokens "
            f"besides an image's patches, but config.json ({STRATEGY}: {strategy}) and an image encoder with {extra} "
            f"tokens of its own make {made:+d}; correct the one that is wrong"
        )


def _kept(extra: int, strategy: str) -> int:
    """Number of tokens besides the patches; by default one is dropped: the first patch, if there is no such token."""
    return extra - (strategy == "default")


def _contradiction(key: str, own: Any, config_key: str, value: Any) -> ProcessorMismatchError:
    return ProcessorMismatchError(
        f"the processor's files say {key}: {own}, but config.json says {config_key}: {value}; images would be mapped "
        "to other tokens than the image encoder makes; correct the one that is wrong"
    )


def _check_size(processor: Any, vision: Any) -> None:
    images, side = getattr(processor, "image_processor", None), getattr(vision, "image_size", None)
    cropped = getattr(images, "crop_size", None) if getattr(images, "do_center_crop", False) else None
    if not isinstance(side, int) or not cropped:
        return
    for key in ("height", "width"):
        if cropped[key] != side:
            raise _contradiction(f"crop_size.{key}", cropped[key], "vision_config.image_size", side)


def _check_image_token(processor: Any, config: PreTrainedConfig) -> None:
    token = next(
        (getattr(config, key) for key in ("image_token_id", "image_token_index") if hasattr(config, key)), None
    )
    tokenizer = getattr(processor, "tokenizer", None)
    name = getattr(processor, "image_token", None)
    if token is None or tokenizer is None or not isinstance(name, str):
        return
    if name not in tokenizer.get_vocab() and token in tokenizer.added_tokens_decoder:
        return  # a placeholder that never becomes a token, since the processor replaces it by other texts
    # In some families the processor's placeholder is another token than those to which it is expanded.
    known = {getattr(owner, "image_token_id", None) for owner in (processor, tokenizer)} - {None}
    known |= {*(getattr(processor, "image_token_ids", None) or ())}
    written = (name, getattr(processor, "img_patch_token", name))
    known |= {*tokenizer.convert_tokens_to_ids(written)}
    if token not in known:
        raise ProcessorMismatchError(
            f"config.json says that the image token is {token} ({tokenizer.convert_ids_to_tokens(token)!r}), but the "
            f"processor writes {name!r}, which is token {tokenizer.convert_tokens_to_ids(name)}; correct the one that "
            "is wrong"
        )


def _extra_tokens(vision: Any) -> int | None:
    """The number of tokens that an image encoder makes besides those of the patches, such as a class token; None if it
    cannot be called: it is built without weights, if possible with a single layer, and called with an empty image."""
    for changes in ({"num_hidden_layers": 1}, {}):
        try:
            config = type(vision).from_dict(vision.to_dict() | changes)
            pixels = torch.empty(1, config.num_channels, config.image_size, config.image_size, device="meta")
            with torch.device("meta"), torch.no_grad():
                made = AutoModel.from_config(config)(pixel_values=pixels)
            return made.last_hidden_state.shape[1] - (config.image_size // config.patch_size) ** 2
        except Exception:  # encoders that are called in another way are not compared
            continue
    return None
