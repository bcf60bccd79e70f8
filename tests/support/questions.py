"""Questions as probes get them, with what a test does not care about filled in."""

from vlmflow.probes.question import Question, QuestionObject

EMPTY = {
    "image_size": (None, None),
    "answer": "red",
    "correct_answer": "red",
    "options": None,
    "objects": (),
    "captions": None,
    "patches": None,
    "sinks": None,
    "token_ids": [],
    "in_detail": False,
}


def make_question(**known):
    return Question(**EMPTY | known)


def thing(name, box=None, attributes=()):
    return QuestionObject(name, box, tuple(attributes))
