"""Encode an image once, although several prompts are about it.

Questions about one image follow one another in a job, and many probes build several prompts of one image.  While
`KeptFeatures` is active, the model's own `get_image_features` is called only for arguments that differ from those of
the last calls; otherwise its earlier result is returned.  The tensors are the same ones, so that no number changes.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

METHOD = "get_image_features"
MOST = 2  # results that are kept: they are on the device


class KeptFeatures:
    """A context manager in which a model encodes an image once; it changes nothing for models without the method.

    Args:
        model: of `transformers`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._owner = _owner(model)
        self._kept: deque[tuple[tuple, dict[str, Any], Any]] = deque(maxlen=MOST)

    def __enter__(self) -> Self:
        if self._owner is not None:
            setattr(self._owner, METHOD, self._encode_once(getattr(self._owner, METHOD)))
        return self

    def __exit__(self, *_: object) -> None:
        if self._owner is not None:
            vars(self._owner).pop(METHOD, None)
        self._kept.clear()

    def _encode_once(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(encode)  # the library reads its signature
        def encode_once(*args: Any, **kwargs: Any) -> Any:
            for known_args, known_kwargs, features in self._kept:
                if _same(args, known_args) and _same(kwargs, known_kwargs):
                    return features
            features = encode(*args, **kwargs)
            self._kept.append((args, kwargs, features))
            return features

        return encode_once


@contextmanager
def encoded_anew(model: nn.Module) -> Iterator[None]:
    """In the block, images are encoded even if their features are kept, for what observes the encoder."""
    owner = _owner(model)
    replaced = None if owner is None else vars(owner).pop(METHOD, None)
    try:
        yield
    finally:
        if owner is not None and replaced is not None:
            setattr(owner, METHOD, replaced)


def _owner(model: nn.Module) -> nn.Module | None:
    """The module whose method encodes images for a forward: the model inside of the one with the language head."""
    inner = getattr(model, "model", None)
    return inner if isinstance(inner, nn.Module) and hasattr(type(inner), METHOD) else None


def _same(one: Any, other: Any) -> bool:
    """Whether two arguments are equal, tensors in every element."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
