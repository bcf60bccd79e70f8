"""Fetch single files of a dataset from the Hugging Face hub into its cache."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError

from vlmflow.errors import HubError, NoAccessError


def fetch_dataset(repository: str, revision: str | None, names: Sequence[str]) -> list[Path]:
    """Fetch files of a dataset, all of one commit.

    Returns:
        the path of each of `names` in the cache.

    Raises:
        NoAccessError: the hub answers that there is no such dataset, or none for this user.
        HubError: there is no such revision or file, or no network.
    """
    dataset = f"{repository} at {revision or 'main'}"
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=list(names)))
    except (HTTPError, OSError, ValueError) as error:
        if (status := _refusal(error)) is not None:
            raise NoAccessError(f"{dataset}: the hub answers {status} {HTTPStatus(status).phrase}") from error
        raise HubError(f"{dataset}: {error}") from error
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise HubError(f"{dataset}: there is no {' and no '.join(absent)} in this dataset")
    return [folder / name for name in names]


def _refusal(error: BaseException) -> int | None:
    """The status with which the hub refused the request; None for other errors. A refusal may be the cause of the
    error."""
    for each in (error, error.__cause__):
        if isinstance(each, HfHubHTTPError):
            status = each.response.status_code
            if isinstance(each, RepositoryNotFoundError) or status in (401, 403):
                return status
    return None
