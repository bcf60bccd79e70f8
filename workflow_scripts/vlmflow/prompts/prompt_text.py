"""Prompts in the user's own words: texts with placeholders for what is known of each question."""

from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from vlmflow.settings import Name

# What may stand in braces in a prompt, and the text that replaces it.
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
            raise ValueError(f"prompt {text!r}: there is nothing to put in place of {{{name}}}; choose from {known}")
        if form or conversion:
            raise ValueError(f"prompt {text!r}: nothing but the name may stand in the braces of {{{name}}}")
    if not text.strip():
        raise ValueError("a prompt is empty; write what the model is to be told, for instance '{question}'")
    return text


Prompts = Annotated[dict[Name, Annotated[str, AfterValidator(_check_prompt)]], Field(min_length=1)]
OWN_QUESTION = {"question": "{question}"}
