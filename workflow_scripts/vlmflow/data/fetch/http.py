"""Requests to servers: tries, waiting times, and messages when a server does not answer."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import requests
import urllib3

from vlmflow.progress import Progress

CONNECTIONS = 8  # at once, to one server
TRIES = 4
WAIT = 0.5  # seconds before the second try; doubled before each further one
TIMEOUT = (15, 60)  # seconds to connect, and between two pieces of an answer
LONGEST_WAIT = 60  # seconds before the next try, even if a busy server requests a longer wait


def session(connections: int) -> requests.Session:
    """A session that tries again when a server is busy."""
    new_session = requests.Session()
    busy = (429, 500, 502, 503, 504)
    retries = urllib3.Retry(TRIES - 1, backoff_factor=WAIT, status_forcelist=busy, retry_after_max=LONGEST_WAIT)
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections, max_retries=retries)
    new_session.mount("https://", adapter)
    new_session.mount("http://", adapter)
    return new_session


def fetch_each(
    work: Callable[[str, Path], str | None], wanted: Mapping[str, Path], connections: int, name: str
) -> dict[str, str]:
    """Do `work` for each of `wanted`, several at a time, under a progress bar called `name`.

    Returns:
        key → reason, for each key for which `work` returned one.  If it raises an error, work that has not begun is
        cancelled.
    """
    failures: dict[str, str] = {}

    def do_one(key: str, path: Path) -> None:
        if (reason := work(key, path)) is not None:
            failures[key] = reason
        bar.update()

    with (
        Progress(name, len(wanted), "files") as bar,
        ThreadPoolExecutor(connections) as pool,
    ):
        jobs = [pool.submit(do_one, key, path) for key, path in wanted.items()]
        done, waiting = wait(jobs, return_when=FIRST_EXCEPTION)
        for job in waiting:
            job.cancel()
        for job in done:
            job.result()
    return failures


def tries() -> Iterator[tuple[bool, Any]]:
    """(whether this is the last try, a function that waits before the next one), `TRIES` times."""
    for number in range(TRIES):
        yield number == TRIES - 1, partial(threading.Event().wait, WAIT * 2**number)


def cause(error: BaseException) -> str:
    """The first line of an error, or the server's status and reason where it answered."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
