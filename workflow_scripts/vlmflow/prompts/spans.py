"""Where options and object words stand in a question: as whole words, in any case."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

Span = tuple[int, int]  # characters from, up to and without

# A scene graph says "he" where a question says "to the left of him".
OBJECT_FORMS = {"he": "him", "she": "her", "they": "them", "i": "me", "we": "us"}


def find_words(text: str, words: str, taken: Sequence[Span] = ()) -> Span | None:
    """The first place of `words` in `text` that overlaps none of `taken`; a plural where the words themselves are not
    there. `cat` is not found inside `category`."""
    return next((span for form in _forms(words) for span in _places(text, form) if _free(span, taken)), None)


def find_options(text: str, true: str, false: str) -> tuple[Span | None, Span | None]:
    """Where the two options stand.

    They are looked for as a pair, `… red or blue …`, since an option may be the name of the object as well: of `Is the
    orange orange or red?` the second word is the option.  Without such a pair, each one's first place counts.
    """
    pairs = [
        (a, b)
        for a, b in product(_places(text, true), _places(text, false))
        if _free(a, [b]) and re.search(r"\bor\b", text[min(a[1], b[1]) : max(a[0], b[0])], re.IGNORECASE)
    ]
    if pairs:
        return min(pairs, key=lambda pair: (max(pair)[0] - min(pair)[1], min(pair)))
    # The longer one first: the other one may be a part of it.
    longer, shorter = sorted((true, false), key=len, reverse=True)
    first = find_words(text, longer)
    second = find_words(text, shorter, [first] if first else [])
    return (first, second) if longer == true else (second, first)


def find_objects(text: str, names: Sequence[str], options: Sequence[Span] = ()) -> list[Span]:
    """Where the objects' names stand: longer names first, so that `post` is not found inside of `fence post`, and
    outside of the options where that is possible."""
    spans: list[Span] = []
    for name in sorted(names, key=len, reverse=True):
        span = find_words(text, name, [*spans, *options]) or find_words(text, name, spans)
        if span is not None:
            spans.append(span)
    return spans


def _places(text: str, words: str) -> Iterator[Span]:
    for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE):
        yield match.span()


def _free(span: Span, taken: Sequence[Span]) -> bool:
    return all(span[1] <= start or span[0] >= end for start, end in taken)


def _forms(words: str) -> Iterator[str]:
    """The words as they are, and then what else they may be called."""
    if not words.strip():
        return
    yield words
    if (form := OBJECT_FORMS.get(words.lower())) is not None:
        yield form
    yield plural(words)


@cache
def plural(words: str) -> str:
    """The plural of a name."""
    return _plurals().plural_noun(words) or words


@cache
def _plurals() -> "inflect.engine":
    # Imported when it is first needed: it takes seconds, and most questions name things as the scene graph does.
    import inflect

    return inflect.engine()
