"""The last line of a job's log, read from its end."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

TAIL = 4096  # bytes

# The form of a line that vlmflow.progress writes.
PROGRESS = re.compile(r"(?P<percent>\d+) % \|[^|]*\| (?P<done>[\d,]+) of (?P<total>[\d,]+) \w+, +(?P<rate>[^,]+/s)")


@dataclass(frozen=True)
class LastLine:
    """The last line of a log, and the finished share from 0 to 1 if the line is a progress bar."""

    text: str
    share: float | None = None


def last_line(path: str | None) -> LastLine:
    """The last line of a log that is not empty; an empty line if there is no log yet."""
    if path is None:
        return LastLine("")
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            tail = file.read(TAIL).decode("utf-8", errors="replace")
    except OSError:
        return LastLine("")
    lines = [line for line in re.split(r"[\r\n]+", tail) if line.strip()]
    if not lines:
        return LastLine("")
    progress = PROGRESS.search(lines[-1])
    if progress is None:
        return LastLine("".join(each for each in lines[-1].strip() if each.isprintable()))
    text = f"{progress['done']} of {progress['total']}, {progress['rate'].strip()}"
    return LastLine(text, int(progress["percent"]) / 100)
