"""Strokes and numbers, which are the same in all figures."""

from vlmflow.figures.numbers import signed
from vlmflow.figures.style import strokes_of


def test_numbers_have_a_true_minus_and_no_signed_zero():
    assert [signed(x) for x in (-3.21, 3.21, -0.04, 0.0)] == ["−3.2", "+3.2", "0.0", "0.0"]


def test_a_line_without_a_stroke_of_its_own_keeps_its_spare_one():
    alone = strokes_of(["template -> last"])
    assert strokes_of(["question -> last", "template -> last"])[1:] == alone
    assert len(set(strokes_of(["a", "b", "c", "d", "e"]))) == 5


def test_prompts_named_like_other_lines_have_different_strokes():
    """Strokes are looked up by name, and several names of other figures have the same."""
    for lines in (["correct", "attention", "accuracy"], ["first", "mlp", "time", "wrong"], ["all", "none", "other"]):
        strokes = strokes_of(lines)
        assert len(set(strokes)) == len(lines)
        assert strokes[0] == strokes_of(lines[:1])[0]
