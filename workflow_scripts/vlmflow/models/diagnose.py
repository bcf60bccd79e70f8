"""Find the file because of which a model cannot be loaded; the libraries that load it seldom name it."""

import json
from pathlib import Path
from typing import Any

from .paths import or_a_folder

INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
REMEDY = "copy or fetch the model again"


def read_config(folder: Path) -> dict[str, Any]:
    """A model's configuration, from the file in its folder.

    Raises:
        ValueError: the file is missing, or does not hold a JSON object; the message names it and says what to do.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder}: {diagnose_model(folder, error)}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{folder}: config.json does not hold a JSON object; {REMEDY}")
    return config


def diagnose_model(path: str | Path, error: BaseException) -> str:
    """The reason for which a model cannot be loaded, and what to do; the library's own message if its files are right.

    Args:
        path: a folder or a hub id.
        error: the error of the library.
    """
    folder = Path(path)
    reason = _in_files(folder) if folder.is_dir() else None
    if reason is None and "trust_remote_code" in str(error):
        reason = (
            "it needs code of its own, and no code of a model is run; take a model that transformers itself supports"
        )
    if reason is None and "ignore_mismatched_sizes" in str(error):
        reason = f"its weights have other shapes than those in config.json (the log lists them); {REMEDY}"
    reason = reason or str(error).strip() or type(error).__name__
    return reason if folder.exists() else f"{reason}; {or_a_folder(path)}"


def _in_files(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return f"there is no model: config.json is missing; give a folder as `save_pretrained` writes it, or {REMEDY}"
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            return f"{file.name} is not JSON ({error}); {REMEDY}"
        if not isinstance(content, dict) and file.name in ("config.json", INDEX):
            return f"{file.name} does not hold a JSON object; {REMEDY}"
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return f"there is no tokenizer ({', '.join(TOKENIZERS[:2])}); {REMEDY}"
    return _in_weights(folder)


def _in_weights(folder: Path) -> str | None:
    weights = sorted(file.name for file in folder.glob("*.safetensors"))
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
    if not weights and pickled:
        return (
            f"its weights are pickled, not safetensors ({pickled[0]}); pickled weights can run code and are "
            "not loaded; save them as safetensors (`save_pretrained` does), or take a revision that has safetensors"
        )
    if not weights:
        return f"there are no weights: model.safetensors is missing; {REMEDY}"
    if (folder / INDEX).is_file():
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8")).get("weight_map", {})
        if absent := sorted({str(name) for name in listed.values()} - set(weights)):
            return f"{absent[0]} is missing, but {INDEX} names it; {REMEDY}"
    # Not at the top, since rules that only read a configuration do not have this package.
    from safetensors import SafetensorError, safe_open

    for name in weights:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{name} is cut off, or not a safetensors file ({error}); {REMEDY}"
    return None
