"""Open a picture."""

from PIL import Image, UnidentifiedImageError

from .jobs import QuestionError


def open_picture(path: str) -> Image.Image:
    """The whole picture in RGB.

    Raises:
        QuestionError: the file is missing, cut off, no picture, or absurdly large.
    """
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise QuestionError(f"the picture {path} cannot be read: {error}") from error
