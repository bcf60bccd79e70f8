"""Scenes and prompts for models whose information flow is planted."""

from hypothesis import strategies as st

from vlmflow.calibration.planted import QUESTION, paint

BITS = st.tuples(st.integers(0, 1), st.integers(0, 1))


def scene(bits=(1, 0)):
    return paint((48, 48), (8, 8, 8, 8), (32, 32, 8, 8), bits, 0)


def prompt_of(vlm, shown):
    return vlm.prompt(shown.image, QUESTION, objects={"picture": [shown.related]})


@st.composite
def stages(draw, number):
    """(layers, planted layers in increasing order)."""
    layers = draw(st.integers(number, 9))
    return layers, sorted(draw(st.lists(st.integers(0, layers - 1), min_size=number, max_size=number, unique=True)))
