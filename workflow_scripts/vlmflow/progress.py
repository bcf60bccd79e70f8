"""The progress bar of a long loop: one line in a terminal; in a log, lines that `cat`, `tail -f` and `less` show
alike."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self, TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LEAST_SECONDS = 5.0  # between two lines of a log
LEAST_SHARE = 0.01  # of the elapsed time, between two lines of a log, so that a job of hours writes only hundreds
FORMAT = (
    "{desc}: {percentage:3.0f} % |{bar:20}| {n_fmt} of {total_fmt} {unit}, {per_second} {unit}/s, "
    "{elapsed} gone, {remaining} left{postfix}"
)


class Progress:
    """`with Progress("flow", 100, "questions") as bar: …; bar.update()`.

    Rates are given in questions per second, however slow: 0.04 questions/s, not 25 seconds per question.
    """

    def __init__(self, name: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        stream = sys.stderr if stream is None else stream
        self._in_log = not stream.isatty()
        file = _LineWriter(stream) if self._in_log else stream
        self._bar = _Bar(desc=name, total=total, unit=unit, file=file, mininterval=1, miniters=1, bar_format=FORMAT)
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the bar; its last state stays visible."""
        self._bar.close()

    def update(self) -> None:
        """Count one more item as done."""
        self._bar.update()
        if self._in_log:
            self._bar.mininterval = max(LEAST_SECONDS, LEAST_SHARE * (time.monotonic() - self._start))

    def note(self, **values: Any) -> None:
        """Show these values after the bar, from its next line on."""
        self._bar.set_postfix(refresh=False, **values)


def with_progress(items: Iterable[Item], name: str, total: int, unit: str) -> Iterator[Item]:
    """The items, one after the other, counted by a progress bar."""
    with Progress(name, total, unit) as bar:
        for item in items:
            yield item
            bar.update()


class _Bar(tqdm):
    @property
    def format_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = dict(super().format_dict)
        rate = values["rate"] or (values["n"] / values["elapsed"] if values["elapsed"] else 0)
        return values | {"per_second": f"{rate:.2f}" if rate >= 1 else f"{rate:.2g}"}


class _LineWriter:
    """A file in which each state of a bar is a line of its own and does not overwrite the one before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self.encoding = stream.encoding  # tqdm chooses the characters of the bar by it

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text and text != self._last:
            self._stream.write(text + "\n")
            self._last = text

    def flush(self) -> None:
        self._stream.flush()
