"""Prompts in the user's own words: texts with placeholders for the values of each question."""

from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from vlmflow.settings import Name

# Names that may be in braces in a prompt, and the text that replaces each.
PLACEHOLDERS = {
    "question": "the question's own words",
    "answer": "the correct answer, or the caption",
    "object": "the first object that the question is about",
}


def _check_prompt(text: str) -> str:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"prompt {text!r}: {error}; braces are for {known}") from error
    for _, name, form, conversion in fields:
        if name not in PLACEHOLDERS:
            raise ValueError(f"prompt {text!r}: no text can replace {{{name}}}; choose from {known}")
        if form or conversion:
            raise ValueError(f"prompt {text!r}: only the name may be in the braces of {{{name}}}")
    if not text.strip():
        raise ValueError("a prompt is empty; write the text that the model is to read, for instance '{question}'")
    return text


Prompts = Annotated[dict[Name, Annotated[str, AfterValidator(_check_prompt)]], Field(min_length=1)]
OWN_QUESTION = {"question": "{question}"}
