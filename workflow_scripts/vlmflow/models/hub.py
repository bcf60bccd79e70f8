"""A model's files on the hub: safetensors and the files that they need are fetched into its cache and found there."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import get_session, is_offline_mode, snapshot_download, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from vlmflow.errors import HubError

from .hub_cache import find_snapshot
from .paths import folder_meant, no_folder, or_a_folder
from .size import Size

# No pickled weights, and no code.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
PATIENCE = 8  # seconds in which the hub has to answer
INDEX = "model.safetensors.index.json"


def path_to_load(path: str | Path, revision: str | None = None) -> str | Path:
    """The path to load a model from: its own, or, for a hub id if the hub cannot be reached, its folder in the cache.

    A misspelt path, or a missing network, is reported at once: the libraries would request each of the model's files
    six times, with pauses.

    Raises:
        HubError: there is no such folder, or the hub cannot be reached and the cache does not have the model.
    """
    if Path(path).is_dir():
        return path
    if (folder := Path(path).expanduser()).is_dir():
        return folder
    if isinstance(path, Path) or folder_meant(path) is not None:
        raise HubError(no_folder(path))
    if is_offline_mode():
        return path
    try:
        get_session().head(ENDPOINT, timeout=PATIENCE)
    except HTTPError as error:
        if isinstance(cached := try_to_load_from_cache(path, "config.json", revision=revision), str):
            return Path(cached).parent
        raise HubError(
            f"{path}: the hub at {ENDPOINT} cannot be reached ({error}), and its cache here ({HF_HUB_CACHE}) does not "
            f"have this model; {or_a_folder(path)}"
        ) from error
    return path


def fetch_model(repository: str, revision: str | None) -> dict[str, Any]:
    """Fetch the missing files of a model; a download that broke off is continued.

    Returns:
        the values that `model_folder` reads: repository, revision as requested, folder of the snapshot, bytes of its
        weights, layers, and size as `vlmflow.jobs.estimates` takes it.

    Raises:
        HubError: there is no such model or revision, no network, or no safetensors weights in it.
    """
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=WANTED))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise HubError(f"{repository} at {revision or 'main'}: {error}; {or_a_folder(repository)}") from error
    weights = _weights(folder, repository)
    return {
        "repository": repository,
        "revision": revision,
        "folder": str(folder),
        "bytes": (size := sum(file.stat().st_size for file in weights)),
        **_sizes(folder, size),
    }


def fetched_files(folder: str) -> list[str]:
    """The names of the files of a snapshot that `fetch_model` fetches; other files may be there too."""
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_file())
    return [name for name in names if any(fnmatch(name, pattern) for pattern in WANTED)]


def _sizes(folder: Path, weights: int) -> dict[str, Any]:
    """Layers and size, by the complete configuration: some files hold only the values that differ from the default."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError):
        return {"layers": None}
    size = Size.of(config.to_dict(), weights)
    return {"layers": getattr(config.get_text_config(), "num_hidden_layers", None), "size": size.saved()}


def _weights(folder: Path, repository: str) -> list[Path]:
    """The model's weight files; all of them are there."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except FileNotFoundError:
        names = ["model.safetensors"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HubError(
            f"{repository}: {INDEX} in {folder} is not an index of weights ({error}); delete that file and run "
            "the same command again, which fetches it again"
        ) from error
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise HubError(
            f"{repository}: {', '.join(absent)} is missing in {folder}; only models with safetensors weights are "
            "loaded. If the download broke off, run the same command again"
        )
    return [folder / name for name in names]


def model_folder(path: str, fetched: str | None) -> str:
    """The folder of a model.

    Args:
        path: the path in the study file.
        fetched: for a hub id, the file that holds the result of `fetch_model`.

    Raises:
        HubError: fetched files are no longer there.
    """
    if fetched is None:
        return str(Path(path).expanduser())
    folder, gone = find_snapshot(Path(fetched))
    if not gone:
        return str(folder)
    gone_files = f"{', '.join(gone)} of it" if folder.is_dir() else "all of it"
    raise HubError(
        f"{path} was fetched to {folder}, but {gone_files} is gone; run the same command again, which fetches it "
        "again, or set HF_HOME to the folder in which the hub's cache is now"
    )
