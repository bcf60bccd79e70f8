"""Open an image in RGB, as its pixels are stored, if that does not take too much memory."""

import errno
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlmflow.errors import ImageError

# The formats that are opened.  Other formats of PIL run external programs (EPS), or are not for photographs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
# Largest side in pixels, and largest ratio of the sides.  Processors pad an image to a square of its longer side, or
# enlarge it until its shorter side fits: within these limits that takes some 200 MB; beyond them, a few bytes on the
# disk can fill the memory.
LONGEST = 8192
LONGEST_TO_SHORTEST = 100
SMALLER = (
    f"An image may have at most {LONGEST} pixels per side, and its longer side may be at most {LONGEST_TO_SHORTEST} "
    "times its shorter side; make the image and its boxes smaller"
)

# The EXIF tag for how an image is turned; 1 is not at all.
ORIENTATION = 0x0112

# Errors of a disk or network that is not available, or of a process that has too many open files.
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
    """The complete image in RGB, as its pixels are stored.

    The orientation in its EXIF data is not applied, and a warning says so: boxes are given in stored pixels, as those
    of GQA are.

    Args:
        path: of its file.
        name: its name in messages; by default "the image" and its path.

    Raises:
        ImageError: the file is missing, cut off, not an image, several images, or far too large.
        OSError: the disk does not answer, or the whole folder is gone, so other images cannot be read either.
    """
    name = name or f"the image {path}"
    try:
        with warnings.catch_warnings():
            # PIL warns of large images and refuses those of twice that size; here one limit holds.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _readable(image, name)
    except (MemoryError, RecursionError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} cannot be read: it is empty, or in none of the formats {', '.join(FORMATS)}"
        ) from error
    except OSError as error:
        if error.errno in OF_THE_MACHINE or not Path(path).parent.exists():
            raise  # every other image is gone as well
        raise ImageError(f"{name} cannot be read: {error}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} cannot be read: {error} {SMALLER}") from error
    except Exception as error:  # for bytes that are not an image, PIL raises errors of many kinds
        raise ImageError(f"{name} cannot be read: {error}") from error


def in_rgb(image: Image.Image) -> Image.Image:
    """An opened image in RGB, as `open_image` reads the same image from its file.

    Raises:
        ImageError: it is several images, or far too large, or its pixels have an unknown range.
    """
    try:
        return _readable(image, "the image")
    except ValueError as error:
        raise ImageError(f"the image cannot be used: {error}") from error


def _readable(image: Image.Image, name: str) -> Image.Image:
    _check(image)
    turned = image.getexif().get(ORIENTATION, 1)
    if turned != 1:
        warnings.warn(
            f"{name} has an orientation in its EXIF data ({turned}), which is not applied: boxes are of the pixels as "
            "they are stored, and the model reads these; to apply it, save the image with "
            "`PIL.ImageOps.exif_transpose`",
            stacklevel=3,
        )
    readable = _in_rgb(image)
    readable.info.pop("exif", None)  # so that this is told once
    return readable


def _check(image: Image.Image) -> None:
    """Raise a ValueError for an image that can be refused before its pixels are unpacked."""
    width, height = image.size
    if max(width, height) > LONGEST or max(width, height) > LONGEST_TO_SHORTEST * min(width, height):
        raise ValueError(f"it has {width} × {height} pixels. {SMALLER}")
    # A photograph with a preview (MPO) is one image.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ValueError(
            "it has several frames, and it is not known which frame is meant; save the correct frame as an image"
        )


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # PIL would cut values off at 255 of 65,535, which leaves a white image.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers, and their range is not known; save it with 8 bits per colour")
    return image.convert("RGB")
