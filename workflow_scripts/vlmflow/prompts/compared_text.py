"""Texts in which words are found whatever their script and their form in Unicode.

Both the text and the words are normalised: case is folded, compatible characters are one (NFKC), and characters without
width do not count.  A word ends where a space or a mark is; in scripts that are written without spaces it may end
anywhere, and in Korean a particle may follow.
"""

import re
import unicodedata
from collections.abc import Iterator

Span = tuple[int, int]  # index of the first character, and of the one after the last

# Beginnings of the names of characters of scripts that are written without spaces between words.
WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
KOREAN = "HANGUL"


class ComparedText:
    """A text in which words are searched.

    Attributes:
        text: as it is; spans are of its characters.
        normalised: as it is compared.
    """

    def __init__(self, text: str) -> None:
        """Normalise a text."""
        self.text = text
        self._origins: list[Span] = []  # of each normalised character
        normalised = []
        for start, stop in _clusters(text):
            for character in normalise(text[start:stop]):
                normalised.append(character)
                self._origins.append((start, stop))
        self.normalised = "".join(normalised)

    def spans_of(self, words: str) -> Iterator[Span]:
        """The spans of `words` in the text, as complete words."""
        wanted = normalise(words).strip()
        for match in re.finditer(rf"(?={re.escape(wanted)})", self.normalised) if wanted else ():
            start, stop = match.start(), match.start() + len(wanted)
            if _begins(self.normalised, start) and _ends(self.normalised, stop):
                yield self._origins[start][0], self._origins[stop - 1][1]


def normalise(text: str) -> str:
    """A text as texts are compared."""
    visible = "".join(character for character in text if not _is_invisible(character))
    # Folding the case of a composed character may decompose it.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def _clusters(text: str) -> Iterator[Span]:
    """The spans of characters with everything that is combined with them."""
    start = 0
    for index in range(1, len(text) + 1):
        if index == len(text) or not _joins(text[index]):
            yield start, index
            start = index


def _joins(character: str) -> bool:
    """Whether a character is combined with the one before it: marks, what has no width, and parts of syllables."""
    return _is_invisible(character) or unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff"


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == "Cf"


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _is_of(character: str, scripts: tuple[str, ...]) -> bool:
    return unicodedata.name(character, "").startswith(scripts)


def _begins(text: str, at: int) -> bool:
    """Whether a word may begin before the character `at`."""
    return at == 0 or _is_border(text[at - 1], text[at])


def _ends(text: str, at: int) -> bool:
    """Whether a word may end before the character `at`."""
    return at == len(text) or _is_border(text[at - 1], text[at]) or _is_of(text[at - 1], (KOREAN,))


def _is_border(left: str, right: str) -> bool:
    if not (_is_letter(left) and _is_letter(right)):
        return True
    # A mark belongs to the letter before it.
    return unicodedata.category(right)[0] != "M" and (_is_of(left, WITHOUT_SPACES) or _is_of(right, WITHOUT_SPACES))
