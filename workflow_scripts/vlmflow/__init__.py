"""Where, layer by layer, information from the image enters the words and reaches the answer."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmflow.models.load import load_language_model, load_model
    from vlmflow.models.model import Answer, LanguageModel, VisionLanguageModel
    from vlmflow.prompts.build import Prompt

__all__ = ["Answer", "LanguageModel", "Prompt", "VisionLanguageModel", "load_language_model", "load_model"]


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: most rules need a table or the study file, and not seconds of importing torch.
    if name in __all__:
        from vlmflow.models import load, model

        return getattr(load if name.startswith("load_") else model, name)
    raise AttributeError(f"module 'vlmflow' has no attribute {name!r}")
