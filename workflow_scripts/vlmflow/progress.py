"""The bar of a long loop: lines in a log, which `cat`, `tail -f` and `less` show alike; one line in a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self, TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

BETWEEN = 5.0  # seconds between two lines of a log, at least
SHARE = 0.01  # of the time gone passes between two lines, so that a job of hours leaves hundreds of them
FORMAT = (
    "{desc}: {percentage:3.0f} % |{bar:20}| {n_fmt} of {total_fmt} {unit}, {per_second} {unit}/s, "
    "{elapsed} gone, {remaining} left{postfix}"
)


class Progress:
    """`with Progress("flow", 100, "questions") as bar: …; bar.update()`.

    What it says of a rate are questions a second, however slow: 0.04 questions/s, not 25 seconds a question.
    """

    def __init__(self, name: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        stream = sys.stderr if stream is None else stream
        self._in_log = not stream.isatty()
        file = _Lines(stream) if self._in_log else stream
        self._bar = _Bar(desc=name, total=total, unit=unit, file=file, mininterval=1, miniters=1, bar_format=FORMAT)
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Its last state stays."""
        self._bar.close()

    def update(self) -> None:
        """One more is done."""
        self._bar.update()
        if self._in_log:
            self._bar.mininterval = max(BETWEEN, SHARE * (time.monotonic() - self._start))

    def note(self, **values: Any) -> None:
        """What stands after the bar from its next line on."""
        self._bar.set_postfix(refresh=False, **values)


def shown(items: Iterable[Item], name: str, total: int, unit: str) -> Iterator[Item]:
    """The items, under a bar."""
    with Progress(name, total, unit) as bar:
        for item in items:
            yield item
            bar.update()


class _Bar(tqdm):
    @property
    def format_dict(self) -> dict[str, Any]:
        known: dict[str, Any] = dict(super().format_dict)
        rate = known["rate"] or (known["n"] / known["elapsed"] if known["elapsed"] else 0)
        return known | {"per_second": f"{rate:.2f}" if rate >= 1 else f"{rate:.2g}"}


class _Lines:
    """A file in which each state of a bar is a line of its own, instead of all of them one over the other."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self.encoding = stream.encoding  # by which the characters of the bar are chosen

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text and text != self._last:
            self._stream.write(text + "\n")
            self._last = text

    def flush(self) -> None:
        self._stream.flush()
