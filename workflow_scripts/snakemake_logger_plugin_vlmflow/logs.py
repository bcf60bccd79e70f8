"""The last line of a job's log, read from its end."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

TAIL = 4096  # bytes

# As vlmflow.progress writes it.
PROGRESS = re.compile(r"(?P<percent>\d+) % \|[^|]*\| (?P<done>[\d,]+) of (?P<total>[\d,]+) \w+, +(?P<rate>[^,]+/s)")


@dataclass(frozen=True)
class Last:
    """The last line of a log, and its share from 0 to 1 if it is a progress bar."""

    text: str
    share: float | None = None


def last_line(path: str | None) -> Last:
    """The last line that is not empty; an empty one if there is no log yet."""
    if path is None:
        return Last("")
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            tail = file.read(TAIL).decode("utf-8", errors="replace")
    except OSError:
        return Last("")
    lines = [line for line in re.split(r"[\r\n]+", tail) if line.strip()]
    if not lines:
        return Last("")
    found = PROGRESS.search(lines[-1])
    if found is None:
        return Last("".join(each for each in lines[-1].strip() if each.isprintable()))
    text = f"{found['done']} of {found['total']}, {found['rate'].strip()}"
    return Last(text, int(found["percent"]) / 100)
