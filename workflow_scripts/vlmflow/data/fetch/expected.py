"""Checks of downloaded files: a server can send anything with a status of 200."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlmflow.data.open_image import open_image
from vlmflow.errors import ContentError, QuestionError

MOST_BYTES = 100_000_000  # of one image: some ten times the size of a large photograph


class Refused(str):
    """The reason for which a server's answer was not kept; at another request it may send the right file."""


@dataclass(frozen=True)
class Expected:
    """The conditions under which a file is kept.

    Attributes:
        most: the largest number of bytes on the disk.
        check: raises a ContentError for a file that is not what was requested.
    """

    most: int
    check: Callable[[Path], None]

    def check_size(self, size: int) -> None:
        """Raise a ContentError for a file of more bytes than are allowed."""
        if size > self.most:
            raise ContentError(f"it has more than {self.most:,} bytes, which is the limit for an image")


def check_image(path: Path) -> None:
    """Raise a ContentError if a file is not an image that can be used."""
    try:
        open_image(str(path), name="what was sent")
    except QuestionError as error:
        raise ContentError(str(error)) from error


IMAGE = Expected(MOST_BYTES, check_image)
