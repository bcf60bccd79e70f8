"""Where, layer by layer, information from the image enters the words and reaches the answer.

The names here are those that a notebook needs; docs/notebook.md shows them at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmflow.engine.plain import plain
    from vlmflow.models.greedy_decoding import Answer
    from vlmflow.notebook import LanguageModel, VisionLanguageModel, load_language_model, load_model
    from vlmflow.prompts.build import Prompt

__all__ = ["Answer", "LanguageModel", "Prompt", "VisionLanguageModel", "load_language_model", "load_model", "plain"]
MODULES = {"Answer": "models.greedy_decoding", "Prompt": "prompts.build", "plain": "engine.plain"}


def __getattr__(name: str) -> Any:
    # Loaded when first requested: most rules need a table or the study file, and not seconds of importing torch.
    if name in __all__:
        return getattr(import_module(f"vlmflow.{MODULES.get(name, 'notebook')}"), name)
    raise AttributeError(f"module 'vlmflow' has no attribute {name!r}")
