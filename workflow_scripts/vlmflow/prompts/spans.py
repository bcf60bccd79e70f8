"""Find options and object names in a question, as complete words, in any case and script."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

from .compared_text import ComparedText, Span

if TYPE_CHECKING:
    import inflect

# Words that stand between two options.
OR = {
    "Arabic": "أو أم",
    "Bengali": "বা নাকি",
    "Chinese": "还是 還是 还有 或 或是 或者 抑或",
    "Czech and Slovak": "nebo či alebo anebo",
    "Danish, Norwegian and Swedish": "eller",
    "Dutch": "of",
    "English": "or",
    "Finnish": "vai tai",
    "French": "ou",
    "German": "oder",
    "Greek": "ή",
    "Hebrew": "או",
    "Hindi": "या",
    "Hungarian": "vagy",
    "Indonesian and Malay": "atau",
    "Italian": "o oppure",
    "Japanese": "か それとも または もしくは あるいは",
    "Korean": "아니면 또는 혹은 이나 나",
    "Persian and Urdu": "یا",
    "Polish": "lub albo czy",
    "Portuguese": "ou",
    "Romanian": "sau ori",
    "Russian and Ukrainian": "или либо або чи",
    "Spanish": "o u",
    "Tamil": "அல்லது",
    "Thai": "หรือ",
    "Turkish": "veya ya yoksa",
    "Vietnamese": "hay hoặc",
}
OR_WORDS = tuple(dict.fromkeys(" ".join(OR.values()).split()))

# A scene graph says "he" where a question says "to the left of him".
OBJECT_FORMS = {"he": "him", "she": "her", "they": "them", "i": "me", "we": "us"}


def find_words(text: str, words: str, taken: Sequence[Span] = ()) -> Span | None:
    """The first span of `words` in `text` that overlaps none of `taken`; a span of their plural where the words
    themselves are not there. `cat` is not found inside `category`."""
    return next((span for form in _forms(words) for span in _spans_of(text, form) if _free(span, taken)), None)


def all_spans(text: str, words: str) -> list[Span]:
    """All spans of `words` in `text` as complete words, in any case; or of their plural where they are not there."""
    return next((found for form in _forms(words) if (found := list(_spans_of(text, form)))), [])


def find_options(text: str, true: str, false: str) -> tuple[Span | None, Span | None]:
    """The spans of the two options in a question.

    They are searched as a pair, `… red or blue …` in any language, since an option may be the name of the object as
    well: in `Is the orange orange or red?` the second `orange` is the option.  Without such a pair, the first span of
    each is taken.
    """
    # An English "of" is not a Dutch "or".
    words = OR["English"].split() if _holds(text, OR["English"].split()) else OR_WORDS
    pairs = [
        (a, b)
        for a, b in product(_spans_of(text, true), _spans_of(text, false))
        if _free(a, [b]) and _holds(text[min(a[1], b[1]) : max(a[0], b[0])], words)
    ]
    if pairs:
        return min(pairs, key=lambda pair: (max(pair)[0] - min(pair)[1], min(pair)))
    # The longer option first, since the other one may be a part of it.
    longer, shorter = sorted((true, false), key=len, reverse=True)
    first = find_words(text, longer)
    second = find_words(text, shorter, [first] if first else [])
    return (first, second) if longer == true else (second, first)


def find_objects(text: str, names: Sequence[str], options: Sequence[Span] = ()) -> dict[str, Span]:
    """Name → its span, for those of the objects' names that are in the question: longer names first, so that `post` is
    not found inside of `fence post`, and outside of the options where that is possible."""
    spans: dict[str, Span] = {}
    for name in sorted(names, key=len, reverse=True):
        taken = list(spans.values())
        span = find_words(text, name, [*taken, *options]) or find_words(text, name, taken)
        if span is not None:
            spans[name] = span
    return spans


def _spans_of(text: str, words: str) -> Iterator[Span]:
    return ComparedText(text).spans_of(words)


def _holds(between: str, words: Sequence[str]) -> bool:
    """Whether a word for "or" is in the text between two options."""
    return any(next(ComparedText(between).spans_of(word), None) is not None for word in words)


def _free(span: Span, taken: Sequence[Span]) -> bool:
    return all(span[1] <= start or span[0] >= end for start, end in taken)


def _forms(words: str) -> Iterator[str]:
    """The words as they are, and then other forms of them."""
    if not words.strip():
        return
    yield words
    if not words.isascii():
        return
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
