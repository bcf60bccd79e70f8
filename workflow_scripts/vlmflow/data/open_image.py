"""Open an image: as its pixels are stored, in RGB, and only where that takes a sane amount of memory."""

import errno
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlmflow.errors import QuestionError

# What images are stored in.  Other formats that PIL knows run programs from elsewhere (EPS), or are no photographs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
# Pixels of the longer side, and how often the shorter one may go into it. Processors pad an image to a square of its
# longer side, or enlarge it until its shorter one fits: within these limits that is some 200 MB; beyond them, a few
# bytes on the disk can become all of the memory.
LONGEST = 8192
LONGEST_TO_SHORTEST = 100
SMALLER = (
    f"At most {LONGEST} pixels a side are opened, and a longer side of at most {LONGEST_TO_SHORTEST} times the shorter "
    "one; make it smaller, and its boxes with it"
)

# Errors of a disk or network that is away, or of a process that has too many files open.
OF_THE_MACHINE = {
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EMFILE,
    errno.ENFILE,
}


def open_image(path: str, name: str | None = None) -> Image.Image:
    """The whole image in RGB, as its pixels are stored.

    An orientation that its EXIF data ask for is not applied: boxes are given in stored pixels, as those of GQA are.

    Args:
        path: of its file.
        name: what messages call it; by default the image at this path.

    Raises:
        QuestionError: the file is missing, cut off, no image, several ones, or absurdly large.
        OSError: the disk does not answer, or the whole folder is gone: no fault of this image's.
    """
    name = name or f"the image {path}"
    try:
        with warnings.catch_warnings():
            # PIL warns of images of one size and refuses those of twice that size; here one limit is for all.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check(image)
                return _in_rgb(image)
    except (MemoryError, RecursionError):
        raise
    except UnidentifiedImageError as error:
        raise QuestionError(f"{name} cannot be read: it is empty, or none of {', '.join(FORMATS)}") from error
    except OSError as error:
        if error.errno in OF_THE_MACHINE or not Path(path).parent.exists():
            raise  # every other image would be gone as well
        raise QuestionError(f"{name} cannot be read: {error}") from error
    except Image.DecompressionBombError as error:
        raise QuestionError(f"{name} cannot be read: {error} {SMALLER}") from error
    except Exception as error:  # what PIL raises at bytes that are no image has no kind in common
        raise QuestionError(f"{name} cannot be read: {error}") from error


def _check(image: Image.Image) -> None:
    """Raise a ValueError at what can be refused before a single pixel is unpacked."""
    width, height = image.size
    if max(width, height) > LONGEST or max(width, height) > LONGEST_TO_SHORTEST * min(width, height):
        raise ValueError(f"it has {width} × {height} pixels. {SMALLER}")
    # A photograph with a preview (MPO) is one image.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ValueError("it has several frames, and nothing says which is meant; save the right one as an image")


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # PIL would cut off what is brighter than 255 of 65,535, and leave a white image.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            "its pixels are numbers of 32 bits, and nothing says what is white; save it with 8 bits a colour"
        )
    return image.convert("RGB")
