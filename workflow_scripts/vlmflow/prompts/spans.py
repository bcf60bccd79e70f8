"""Find options and object names in a question, as complete words, in any case."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect

Span = tuple[int, int]  # index of the first character, and of the one after the last

# A scene graph says "he" where a question says "to the left of him".
OBJECT_FORMS = {"he": "him", "she": "her", "they": "them", "i": "me", "we": "us"}


def find_words(text: str, words: str, taken: Sequence[Span] = ()) -> Span | None:
    """The first span of `words` in `text` that overlaps none of `taken`; a span of their plural where the words
    themselves are not there. `cat` is not found inside `category`."""
    return next((span for form in _forms(words) for span in _spans_of(text, form) if _free(span, taken)), None)


def find_options(text: str, true: str, false: str) -> tuple[Span | None, Span | None]:
    """The spans of the two options in a question.

    They are searched as a pair, `… red or blue …`, since an option may be the name of the object as well: in `Is the
    orange orange or red?` the second `orange` is the option.  Without such a pair, the first span of each is taken.
    """
    pairs = [
        (a, b)
        for a, b in product(_spans_of(text, true), _spans_of(text, false))
        if _free(a, [b]) and re.search(r"\bor\b", text[min(a[1], b[1]) : max(a[0], b[0])], re.IGNORECASE)
    ]
    if pairs:
        return min(pairs, key=lambda pair: (max(pair)[0] - min(pair)[1], min(pair)))
    # The longer option first, since the other one may be a part of it.
    longer, shorter = sorted((true, false), key=len, reverse=True)
    first = find_words(text, longer)
    second = find_words(text, shorter, [first] if first else [])
    return (first, second) if longer == true else (second, first)


def find_objects(text: str, names: Sequence[str], options: Sequence[Span] = ()) -> list[Span]:
    """The spans of the objects' names: longer names first, so that `post` is not found inside of `fence post`, and
    outside of the options where that is possible."""
    spans: list[Span] = []
    for name in sorted(names, key=len, reverse=True):
        span = find_words(text, name, [*spans, *options]) or find_words(text, name, spans)
        if span is not None:
            spans.append(span)
    return spans


def _spans_of(text: str, words: str) -> Iterator[Span]:
    for match in re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE):
        yield match.span()


def _free(span: Span, taken: Sequence[Span]) -> bool:
    return all(span[1] <= start or span[0] >= end for start, end in taken)


def _forms(words: str) -> Iterator[str]:
    """The words as they are, and then other forms of them."""
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
    # Imported only when it is needed: it takes seconds, and most questions use the names of the scene graph.
    import inflect

    return inflect.engine()
