"""Facts about a study's models that their configuration tells before any job starts."""

import json
from pathlib import Path
from typing import Any

from vlmflow.models.diagnose import read_config
from vlmflow.models.size import LARGE, Size, folder_size

from .models import Model


def size_of(model: Model) -> Size:
    """A model's size by its configuration; that of a large model before a hub id is fetched."""
    if model.folder is not None:
        return folder_size(model.folder)
    note = _fetched(model)
    return Size(**note["size"]) if "size" in note else LARGE


def layers_of(model: Model) -> int | None:
    """A model's number of layers by its configuration; None if that does not give it, or before a hub id is fetched."""
    if model.folder is None:
        return _fetched(model).get("layers")
    config = read_config(model.folder)
    return (config.get("text_config") or config).get("num_hidden_layers")


def _fetched(model: Model) -> dict[str, Any]:
    """The facts that `fetch_model` wrote down; none before."""
    note = Path(str(model.fetched))
    return json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
