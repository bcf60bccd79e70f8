"""What a file from elsewhere has to be in order to be kept: a server can send anything with a status of 200."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlmflow.data.open_image import open_image
from vlmflow.errors import ContentError, QuestionError

MOST_BYTES = 100_000_000  # of one image: some ten times as many as a large photograph has


class Refused(str):
    """A reason for which what a server sent was not kept: asked another time, it may send what was meant."""


@dataclass(frozen=True)
class Expected:
    """What a file has to be in order to be kept.

    Attributes:
        most: bytes, at most, as they are written to the disk.
        check: raises a ContentError at a file that is not what was asked for.
    """

    most: int
    check: Callable[[Path], None]

    def check_size(self, size: int) -> None:
        """Raise a ContentError at more bytes than are taken."""
        if size > self.most:
            raise ContentError(f"it has more than {self.most:,} bytes, the most that an image may have")


def check_image(path: Path) -> None:
    """Raise a ContentError if a file is no image that can be used."""
    try:
        open_image(str(path), name="what was sent")
    except QuestionError as error:
        raise ContentError(str(error)) from error


IMAGE = Expected(MOST_BYTES, check_image)
