"""Which spellings of an answer are the same answer, by what a study asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmflow.data.answer_match import bare, plain, same
from vlmflow.data.answers import is_correct

STRICT = [
    ("black", "black"),
    ("  Black\n", "black"),
    ("BLACK", "black"),
    ("black", " Black "),
    ("traffic   light", "Traffic light"),
    ("Jalape\u00f1o", "jalapen\u0303o"),
    ("jalapen\u0303o", "jalape\u00f1o"),
]
RELAXED = [
    ("Black.", "black"),
    ("Yes!", "yes"),
    ("Yes,", "yes"),
    ("blue;", "blue"),
    ("yes\u3002", "yes"),
    ("red\uff01", "red"),
    ('"Black"', "black"),
    ('"Black."', "black"),
    ('"Black".', "black"),
    ("\u201cred\u201d", "red"),
    ("\u201ered\u201c", "red"),
    ("\u00abred\u00bb", "red"),
    ("\u300cred\u300d", "red"),
    ("'red'", "red"),
    ("**Red**", "red"),
    ("__red__", "red"),
    ("*red*", "red"),
    ("`red`", "red"),
    ("***Red.***", "red"),
    ("- red", "red"),
    ("* red", "red"),
    ("\u200bred", "red"),
    ("red\ufeff", "red"),
    ("STRASSE", "stra\u00dfe"),
    ("The black", "black"),
    ("A traffic  light.", "traffic light"),
    ("**The** car", "**the** car"),
    ("the \u201cred\u201d", "red"),
    ("black", "black."),
]
NEVER = [
    ("no", "not"),
    ("3.5", "35"),
    (".5", "5"),
    ("c++", "c"),
    ("c#", "c"),
    ("-5", "5"),
    ("- 5", "5"),
    ("masse", "ma\u00dfe"),
    ("resume", "r\u00e9sum\u00e9"),
    ("there", "re"),
    ("another", "other"),
    ("theater", "ater"),
    ("a", "an"),
    (".", "!"),
    ('"', "'"),
    ("", "."),
    ("red car", "redcar"),
    ("black and white", "black"),
    ("'red' and 'blue'", "red' and 'blue"),
    ("\u0646\u200c\u0645", "\u0646\u0645"),  # a mark without width within a word
    ("yes", ""),
]


@pytest.mark.parametrize(("said", "answer"), STRICT)
def test_space_case_and_form_never_matter(said, answer):
    assert same(said, answer)
    assert same(said, answer, "relaxed")


@pytest.mark.parametrize(("said", "answer"), RELAXED)
def test_relaxed_ignores_what_is_written_around_an_answer(said, answer):
    assert same(said, answer, "relaxed")
    assert same(said, answer) == (said == "**The** car")


@pytest.mark.parametrize(("said", "answer"), NEVER)
def test_other_words_are_never_the_same(said, answer):
    for match in ("strict", "relaxed"):
        assert not same(said, answer, match)
        assert not same(answer, said, match)


def test_without_a_reference_answer_nothing_is_correct_or_wrong():
    assert is_correct("x", None, "relaxed") is None
    assert is_correct("Black.", "black") is False
    assert is_correct("Black.", "black", "relaxed") is True


@given(st.text(), st.text())
def test_relaxed_takes_all_that_strict_takes(said, answer):
    assert same(said, said)
    assert same(said, said, "relaxed")
    assert plain(plain(said)) == plain(said)
    if same(said, answer):
        assert same(said, answer, "relaxed")
    assert bare(said) or not said.strip()
