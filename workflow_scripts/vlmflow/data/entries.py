"""Shared by the readers of datasets: files, their entries, and skipped rows for malformed entries."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from vlmflow.errors import DatasetError

from .answer_match import plain
from .published_files import reading

# Rows of the tables `questions` and `skipped`.
Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


# The reason to skip an entry whose id an earlier one has.
SAME_ID = "another question has this id; only the first one is asked"


# Levels of lists and objects, more than any dataset has; and the pieces of JSON by which levels are counted.
DEEPEST = 100
BRACKETS = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"')


class Repeated(dict):
    """A JSON object in which some keys are given twice: with the first value of each; the later ones are in `later`.

    Python's own reader would keep the last value without a warning.
    """

    later: list[tuple[str, Any]]

    @cached_property
    def again(self) -> set[str]:
        """The keys that are given more than once."""
        return {key for key, _ in self.later}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated, later = Repeated(), []
    for key, value in pairs:
        if key in repeated:
            later.append((key, value))
        else:
            repeated[key] = value
    repeated.later = later
    return repeated


def _integer(text: str) -> int | float:
    """An integer; or infinity for one of 300 digits and more, since Python refuses integers of thousands of digits."""
    return int(text) if len(text) < 300 else float(text)


def check_keys(found: Any) -> Any:
    """The value itself; an object with a key that is given twice is refused, since the right value is not known."""
    if isinstance(found, Repeated):
        raise ValueError(f"the key {found.later[0][0]!r} is given twice; keep the correct one")
    return found


class Loose(BaseModel):
    """An entry of a file; fields without a name here are ignored, and ids may be numbers."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_once(cls, found: Any) -> Any:
        return check_keys(found)

    @field_validator("*")
    @classmethod
    def _text_is_text(cls, found: Any) -> Any:
        for text in [found] if isinstance(found, str) else found if isinstance(found, list | dict) else ():
            if isinstance(text, str) and clean(text) != text:
                raise ValueError(f"{clean(text)!r} holds half of a surrogate pair, which is not a character")
        return found


def _no_boolean(found: Any) -> Any:
    if isinstance(found, bool):
        raise ValueError("Input should be a number, not true or false")
    return found


def _plain(found: Any) -> Any:
    return plain(found) if isinstance(found, str) else found


KeysOnce = BeforeValidator(check_keys)
# A model's answer is compared with exactly this text: with spaces or capitals of the file, no answer would be correct.
Answer = Annotated[str, Field(min_length=1), BeforeValidator(_plain)]
Number = Annotated[float, BeforeValidator(_no_boolean)]
Pixels = Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(_no_boolean)]


def read_text(path: Path, expected: str) -> str:
    """The text of a file; `expected` describes its content in messages.

    Raises:
        DatasetError: there is no such file, or it is not a text.
    """
    try:
        with reading(path, expected) as file:
            return file.read().decode("utf-8-sig")  # some programs begin a file with a mark of its encoding
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: this is not text in UTF-8 ({error}); expected {expected}") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text; objects in which a key is given twice are `Repeated`. Where a text is too deep to be
    read, null replaces everything deeper than `DEEPEST`.

    Raises:
        ValueError: the text is not JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        return json.loads(_cut(text), object_pairs_hook=_object, parse_int=_integer)


def _cut(text: str) -> str:
    """The text with null in place of lists and objects that are nested too deep."""
    kept, depth, done = [], 0, 0
    for found in BRACKETS.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(text[done : found.start()] + "null")
                done = len(text)
        elif found[0] in "]}":
            depth -= 1
            if depth == DEEPEST:
                done = found.end()
    return "".join([*kept, text[done:]])


def read_json(path: Path, expected: str) -> Any:
    """The value of a JSON file; `expected` describes it in messages.

    Raises:
        DatasetError: there is no such file, or it is not JSON.
    """
    try:
        return parse_json(read_text(path, expected))
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{path}: this is not JSON ({error}); expected {expected}") from error


def read_lines(path: Path, expected: str) -> Iterator[tuple[int, Any]]:
    """Number and content of each line that is not empty, read as a stream; the error of a line that is not JSON.

    Raises:
        DatasetError: there is no such file, it is not a text, or no line of it holds a JSON object.
    """
    objects, others = 0, 0
    with reading(path, expected) as file:
        # Lines of bytes end where a line of JSON ends; some characters that end a line of text may be in a JSON string.
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                entry = parse_json(text) if text.strip() else None
            except UnicodeDecodeError as error:
                raise DatasetError(f"{path}: this is not text in UTF-8 ({error}); expected {expected}") from error
            except ValueError as error:
                entry = error
            if text.strip():
                objects, others = objects + isinstance(entry, dict), others + 1
                yield number, entry
    if others and not objects:
        raise DatasetError(f"{path}: no line of this file is JSON as expected: {expected}")


def read_entries(path: Path, key: str | None, absent: list[Any] | None = None) -> list[Any]:
    """The list in a JSON file, or under a key of it; `absent` where an object has no such key.

    Raises:
        DatasetError: there is no such file, or it holds no such list.
    """
    expected = "a list of questions" if key is None else f"a list of objects under {key!r}"
    content = read_json(path, expected)
    found = content
    if key is not None:
        found = content.get(key, absent) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DatasetError(f"{path}: this is not {expected}")
    if isinstance(content, Repeated) and key in content.again:
        raise DatasetError(f"{path}: the key {key!r} is given twice; keep the correct one")
    return found


def named(entries: Iterable[Any], key: str) -> Iterator[tuple[str, Any]]:
    """Each entry with its id; an entry without an id has its number, counted from 1, instead."""
    for number, entry in enumerate(entries, 1):
        own = entry.get(key) if isinstance(entry, dict) else None
        yield (f"entry {number}" if own in (None, "") or isinstance(own, dict | list) else str(own)), entry


def clean(text: str) -> str:
    """The text in a form that can be written: halves of surrogate pairs, which JSON can hold, are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def each_once(rows: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> Rows:
    """The rows without those that have the id of an earlier row; these are added to the skipped ones."""
    kept: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["question_id"]
        if kept.setdefault(name, row) is not row:
            skipped.append(skipped_entry(name, SAME_ID))
    return list(kept.values()), skipped


def malformed(question_id: str, error: ValidationError) -> dict[str, Any]:
    """A row of the table `skipped` for a malformed entry."""
    return skipped_entry(question_id, f"malformed entry: {first_mistake(error)}")


def first_mistake(error: ValidationError) -> str:
    """The place of the first mistake in an entry, and the mistake."""
    place = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = place["msg"].removeprefix("Value error, ")
    return ": ".join([".".join(map(str, place["loc"])), message] if place["loc"] else [message])


def skipped_entry(question_id: str, reason: str) -> dict[str, Any]:
    """A row of the table `skipped` for an entry that becomes no question."""
    return {
        "question_id": clean(question_id),
        "task": None,
        "model": None,
        "stage": "questions",
        "what": "",
        "reason": clean(reason),
    }


def absent_object(name: str) -> dict[str, Any]:
    """An entry of the column `objects` for an object without a box: not in the image, or its position is unknown."""
    return {"name": name, "id": None, **dict.fromkeys("xywh"), "attributes": []}


def bare_question(
    question_id: str, image_id: str, question: str, answer: str, types: tuple[str, str, str]
) -> dict[str, Any]:
    """A row of the table `questions` without size, boxes, options and captions; `types` are the structural, semantic
    and detailed one."""
    structural, semantic, detailed = types
    return {
        "question_id": question_id,
        "image_id": image_id,
        "width": None,
        "height": None,
        "question": question,
        "answer": answer,
        "full_answer": None,
        "structural": structural,
        "semantic": semantic,
        "detailed": detailed,
        "true_option": None,
        "false_option": None,
        "objects": [],
        "captions": None,
        "problem": None,
    }
