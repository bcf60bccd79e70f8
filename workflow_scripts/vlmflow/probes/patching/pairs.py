"""Pairs of questions for patching: a question and its donor."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from PIL import Image

from vlmflow.probes.question import Question


def donors_of_same_questions(questions: Sequence[Question]) -> dict[str, Question]:
    """Question id → the same question about another image of the same size, with another correct answer; the model's
    own answers begin with different tokens.

    Among several, one whose objects have the same boxes comes first: an image in which something was changed is an
    exact counterfactual.  Else a hash of both ids decides, so that donors are spread over the questions and do not
    depend on their order.
    """
    same: dict[tuple, list[Question]] = defaultdict(list)
    for question in questions:
        same[_text(question), _size(question)].append(question)
    found = {}
    for question in questions:
        candidates = [other for other in same[_text(question), _size(question)] if _differs(question, other)]
        if candidates:
            found[question.id] = min(candidates, key=lambda other, own=question: _rank(own, other))  # type: ignore[misc]
    return found


def chosen_donors(pairs: Mapping[str, str], questions: Sequence[Question]) -> dict[str, Question]:
    """Question id → the donor that the study names, among the questions that are measured."""
    by_id = {question.id: question for question in questions}
    return {question: by_id[donor] for question, donor in pairs.items() if donor in by_id and question in by_id}


def _text(question: Question) -> str:
    return " ".join(question.text.lower().split())


def _differs(question: Question, other: Question) -> bool:
    """Whether the image is another one, and the correct answer and the model's own begin otherwise."""
    if other.image_id == question.image_id or other.correct_answer == question.correct_answer:
        return False
    return not question.token_ids or other.token_ids[:1] != question.token_ids[:1]


def _size(question: Question) -> tuple[int | None, int | None]:
    """The size of the image, from its file where the dataset does not give it; none for a file that cannot be read."""
    return _size_of_file(question.image) if None in question.image_size else question.image_size


@lru_cache(maxsize=100_000)
def _size_of_file(path: str) -> tuple[int | None, int | None]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError):  # it is skipped with the reason when it is measured
        return None, None


def _rank(question: Question, other: Question) -> tuple[bool, bytes]:
    changed = [thing.box for thing in other.objects] == [thing.box for thing in question.objects]
    return not (changed and question.objects), blake2b(f"{question.id} {other.id}".encode(), digest_size=8).digest()
