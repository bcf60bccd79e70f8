"""Facts about a study's models, read from their configurations before any job starts."""

import json
from pathlib import Path
from typing import Any

from vlmflow.models.diagnose import read_config
from vlmflow.models.size import LARGE, Size, folder_size

from .models import Model


def size_of(model: Model) -> Size:
    """A model's size, from its configuration; that of a large model for a hub id that has not been fetched."""
    if model.folder is not None:
        return folder_size(model.folder)
    note = _fetched_facts(model)
    return Size(**note["size"]) if "size" in note else LARGE


def layers_of(model: Model) -> int | None:
    """A model's number of layers, from its configuration; None if that lacks it or has not been fetched."""
    if model.folder is None:
        return _fetched_facts(model).get("layers")
    config = read_config(model.folder)
    return (config.get("text_config") or config).get("num_hidden_layers")


def _fetched_facts(model: Model) -> dict[str, Any]:
    """The facts that the rule `fetch_model` wrote about a model; empty before that."""
    note = Path(str(model.fetched))
    return json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
