"""Load a processor of `transformers` without what a question about an image never uses: its video and sound parts.

Video processors exist for torchvision only, and sound has libraries of its own; a model that can do more than is asked
of it here must not fail for them.  Image processors are asked for with PIL, so that every machine cuts an image in the
same way; those that exist for torchvision only are loaded as they are, where torchvision is installed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, processing_utils
from transformers.models.auto.feature_extraction_auto import get_feature_extractor_config
from transformers.models.auto.video_processing_auto import get_video_processor_config
from transformers.models.smolvlm import processing_smolvlm
from transformers.processing_utils import ProcessorMixin
from transformers.utils import PushToHubMixin


class UnusedPart(PushToHubMixin):
    """Stands where a processor has its video or sound part: it knows that part's settings, and can do nothing."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.__dict__.update(settings)

    def __getattr__(self, name: str) -> None:
        """None: what its file leaves to defaults, which only the class that it stands for knows."""
        if name.startswith("__"):
            raise AttributeError(name)

    def to_dict(self) -> dict[str, Any]:
        """The settings: a processor writes its parts as JSON while it is loaded, if they are of this base class."""
        return dict(self.__dict__)


class _UnusedLoader:
    """Takes the place of the class that loads such a part."""

    def __init__(self, read_settings: Callable[..., dict[str, Any]]) -> None:
        self.read_settings = read_settings

    def from_pretrained(self, path: str | Path, **loading: Any) -> UnusedPart:
        """A stand-in with the settings of the part in a folder or on the hub."""
        return UnusedPart(self.read_settings(path, revision=loading.get("revision")))


class _PilImageProcessor:
    """Takes the place of `AutoImageProcessor`."""

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
        # Asked for at once, though only the number of a video's frames is spelled with it.
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
