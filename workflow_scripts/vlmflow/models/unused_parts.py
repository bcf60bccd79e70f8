"""Load a processor of `transformers` without its video and sound parts, which a question about an image never uses.

Video processors exist for torchvision only, and sound needs other libraries; a model must not fail because of parts
that are not needed here.  Image processors are loaded with PIL, so that every machine cuts an image in the same way;
those that exist for torchvision only are loaded as they are, if torchvision is installed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

from vlmflow.engine.internals import (
    ProcessorMixin,
    PushToHubMixin,
    get_feature_extractor_config,
    get_video_processor_config,
    processing_smolvlm,
    processing_utils,
)


class UnusedPart(PushToHubMixin):
    """Replaces the video or sound part of a processor: it has that part's settings, and no function."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.__dict__.update(settings)

    def __getattr__(self, name: str) -> None:
        """None, for a setting that is not in its file: only the class that it replaces has the defaults."""
        if name.startswith("__"):
            raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        """The settings; while a processor is loaded, it writes its parts of this base class as JSON."""
        return dict(self.__dict__)


class _UnusedLoader:
    """Replaces the class that loads such a part."""

    def __init__(self, read_settings: Callable[..., dict[str, Any]]) -> None:
        self.read_settings = read_settings

    def from_pretrained(self, path: str | Path, **loading: Any) -> UnusedPart:
        """An unused part with the settings of the part in a folder or on the hub."""
        return UnusedPart(self.read_settings(path, revision=loading.get("revision")))


class _PilImageProcessor:
    """Replaces `AutoImageProcessor`."""

    @staticmethod
    def from_pretrained(path: str | Path, **loading: Any) -> Any:
        """The image processor that cuts with PIL, if there is one."""
        return AutoImageProcessor.from_pretrained(path, **loading, backend="pil")


_SOUND = _UnusedLoader(get_feature_extractor_config)
_LOADERS: dict[str, Any] = {
    "image_processor": _PilImageProcessor,
    "video_processor": _UnusedLoader(get_video_processor_config),
    "feature_extractor": _SOUND,
    "audio_processor": _SOUND,
    "tokenizer": AutoTokenizer,
}


def load_without_unused_parts(path: str | Path, revision: str | None) -> Any:
    """The processor in a folder or on the hub, with an `UnusedPart` for video and for sound."""
    checked = ProcessorMixin.check_argument_for_proper_class

    def check(self: ProcessorMixin, name: str, part: Any) -> Any:
        return type(part) if isinstance(part, UnusedPart) else checked(self, name, part)

    with (
        _replaced(processing_utils, "MODALITY_TO_AUTOPROCESSOR_MAPPING", _LOADERS),
        _replaced(ProcessorMixin, "check_argument_for_proper_class", check),
        # Required when the processor is loaded, though it only spells the number of a video's frames.
        _replaced(processing_smolvlm, "num2words", processing_smolvlm.num2words or str),
    ):
        return AutoProcessor.from_pretrained(path, revision=revision, trust_remote_code=False)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
