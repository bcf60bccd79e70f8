"""When two spellings of an answer are the same answer."""

import re
import unicodedata
from typing import Literal

AnswersMatch = Literal["strict", "relaxed"]

# Characters that end a sentence or a clause; the second half are their full-width forms.
FINAL = ".,!?;:…．。，、！？；："
# Pairs of marks around an answer: quotes, and Markdown's marks.
PAIRS = (
    *(pair.split("|") for pair in "\"|\" '|' “|” „|“ „|” «|» »|« ‹|› ›|‹ ‘|’ ‚|‘ ‚|’ 「|」 『|』".split()),
    *((mark, mark) for mark in ("**", "__", "*", "`")),
)
# Before a number, a hyphen may be a minus.
LIST_ITEM = re.compile(r"(?:[*•]|-(?!\s+\d))\s+(?=\S)")
ARTICLE = re.compile(r"(?:an?|the)\s+(?=\S)", re.IGNORECASE)
# Soft hyphens, and marks without width or of direction.  Within a word, some of them change the word.
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def squeezed(text: str) -> str:
    """The text without space around it, and with one space between words."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """An answer as answers are compared: in lowercase, squeezed, each character in its composed form (NFC)."""
    return unicodedata.normalize("NFC", squeezed(text).lower())


def same(given: str, answer: str, match: AnswersMatch = "strict") -> bool:
    """Whether a model's answer is the dataset's: `strict` as [flow] compares them, except for space and the form of
    characters; `relaxed` also without the marks and words around an answer (`bare`)."""
    if match == "strict":
        return plain(given) == plain(answer)
    answer = bare(answer.lower())
    # In capitals, some letters become others: ß is written SS.
    return bare(given.lower()) == answer or bare(given) == answer.upper()


def bare(text: str) -> str:
    """An answer without marks and words that may be written around it: final punctuation, quotes and Markdown's marks
    on both sides, the mark of a list, one leading article, invisible characters.  The rest is unchanged; an answer of
    which nothing would remain is kept."""
    text = _unwrapped(unicodedata.normalize("NFC", squeezed(text)))
    return _unwrapped(ARTICLE.sub("", text, count=1) if ARTICLE.match(text) else text)


def _unwrapped(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = text.rstrip(FINAL + INVISIBLE + " ").lstrip(INVISIBLE + " ") or text
        text = LIST_ITEM.sub("", text, count=1) if LIST_ITEM.match(text) else text
        for left, right in PAIRS:
            inside = text[len(left) : -len(right)].strip()
            if text.startswith(left) and text.endswith(right) and inside and left not in inside and right not in inside:
                text = inside
    return text
