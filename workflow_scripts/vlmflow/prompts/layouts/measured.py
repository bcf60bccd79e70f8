"""The patch map of any model, measured: pixels are followed from the image through the processor and the image encoder.

Tokens with pixels of the image are patches; tokens without, such as row newlines and padding, are not.  Patches that
follow each other in the prompt and lie side by side in the image form the rows of a view.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vlmflow.errors import GeometryError

from .patch_map import PatchMap, View
from .pixel_sources import PixelSources
from .reached_tokens import SEVERAL

# Pixels per side of a patch in a measured view, whose true number is not known.
SIDE = 14
# Largest share of pixels that may reach several tokens, of all that reach any.
SHARED = 0.01

# More than the columns or rows of any image.
PAIR = 1 << 32


@dataclass(frozen=True)
class Span:
    """The columns, or the rows, of the image from which a token's pixels come.

    Attributes:
        first, last: numbers of the first and the last one.
        distinct: how many different ones there are.
    """

    first: int
    last: int
    distinct: int

    @property
    def length(self) -> float:
        """The length of the interval that the pixels stand for: picked pixels lie in the middle of theirs."""
        between = self.last - self.first
        return between * self.distinct / (self.distinct - 1) if self.distinct > 1 else 1.0


@dataclass(frozen=True)
class Patch:
    """An image token and the part of the image from which its pixels come."""

    token: int
    x: Span
    y: Span


def measured_patch_map(
    sources: Mapping[str, PixelSources],
    reached: Mapping[str, np.ndarray],
    tokens: int,
    size: tuple[int, int],
) -> PatchMap:
    """The patch map of an image.

    Args:
        sources: model input → where its entries lie in the image.
        reached: model input → index of the image token that each entry reaches; negative if it is not one token.
        tokens: number of the image's tokens.
        size: width and height of the image in pixels.

    Raises:
        GeometryError: tokens are not patches.
    """
    ids = np.concatenate([reached[name].ravel() for name in sources])
    x = np.concatenate([each.x.ravel() for each in sources.values()])
    y = np.concatenate([each.y.ravel() for each in sources.values()])
    inside = x >= 0
    # Entries of padding reach tokens too.
    several, one = ((ids == SEVERAL) & inside).sum(), ((ids >= 0) & inside).sum()
    if several > SHARED * (several + one):
        raise GeometryError(
            f"patches do not apply: {100 * several / (several + one):.0f} % of the image's pixels reach several image "
            "tokens each, so that no token stands for one part of the image"
        )
    if not one:
        raise GeometryError(
            "patches do not apply: no pixel reaches an image token except through attention or a codebook, so that "
            "each token depends on all of the image, or on none of it"
        )
    keep = (ids >= 0) & inside
    views = tuple(_view(rows) for rows in _views(_patches(ids[keep], x[keep], y[keep])))
    return PatchMap(views, tokens, size)


def _patches(ids: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[Patch]:
    """The patches in the order of their tokens.

    Args:
        ids, x, y: index of the token, column and row of each pixel.
    """
    spans = [_spans(ids, values) for values in (x, y)]
    return [Patch(token, spans[0][token], spans[1][token]) for token in sorted(spans[0])]


def _spans(ids: np.ndarray, values: np.ndarray) -> dict[int, Span]:
    # As one number each, since pairs of numbers take long to be sorted.
    pairs = np.unique(ids.astype(np.int64) * PAIR + values)
    tokens, starts, counts = np.unique(pairs // PAIR, return_index=True, return_counts=True)
    return {
        int(token): Span(int(pairs[start] % PAIR), int(pairs[start + count - 1] % PAIR), int(count))
        for token, start, count in zip(tokens, starts, counts, strict=True)
    }


def _views(patches: list[Patch]) -> list[list[list[Patch]]]:
    """The rows of each view."""
    rows: list[list[Patch]] = []
    for patch in patches:
        last = rows[-1][-1] if rows else None
        beside = last and patch.token == last.token + 1 and patch.y == last.y and _follows(last.x, patch.x)
        if beside:
            rows[-1].append(patch)
        else:
            rows.append([patch])
    views: list[list[list[Patch]]] = []
    for row in rows:
        if views and _continues(views[-1], row):
            views[-1].append(row)
        else:
            views.append([row])
    return views


def _follows(before: Span, after: Span) -> bool:
    """Whether one interval begins where the other ends, up to the distance of two picked pixels."""
    step = max(span.length / span.distinct for span in (before, after))
    return 0 <= after.first - before.last <= 2 * step + 1


def _continues(view: list[list[Patch]], row: list[Patch]) -> bool:
    """Whether a row is the next one of a view."""
    above = view[-1]
    steps = {later[0].token - earlier[0].token for earlier, later in pairwise([*view, row])}
    return (
        len(steps) == 1
        and [patch.x for patch in row] == [patch.x for patch in above]
        and _follows(above[0].y, row[0].y)
    )


def _view(rows: list[list[Patch]]) -> View:
    first = rows[0][0]
    left, width = _grid([patch.x for patch in rows[0]])
    top, height = _grid([row[0].y for row in rows])
    step = rows[1][0].token - first.token if len(rows) > 1 else len(rows[0])
    return View(
        rows=len(rows),
        columns=len(rows[0]),
        patch=SIDE,
        scale_x=SIDE / width,
        scale_y=SIDE / height,
        shift_x=-left * SIDE / width,
        shift_y=-top * SIDE / height,
        first=first.token,
        row_ends=step - len(rows[0]),
    )


def _grid(spans: list[Span]) -> tuple[float, float]:
    """(start, length of one interval) of equal intervals that follow each other."""
    # The ends in the middle are known best: those of the first and the last interval may be cut by the image's border.
    inner = [(before.last + 1 + after.first) / 2 for before, after in pairwise(spans)]
    longest = max(span.length for span in spans)
    length = (inner[-1] - inner[0]) / (len(inner) - 1) if len(inner) > 1 else longest
    start = inner[0] - length if inner else (spans[0].first + spans[0].last + 1 - length) / 2
    return start, length
