"""Shared by the datasets whose questions ask for a description of the image."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from .entries import bare_question

DESCRIBE = "describe"  # the structural type of a question that asks for a description
DESCRIBE_IMAGE = "Describe the picture in one sentence."

Prompt = Annotated[str, Field(pattern=r"\S", description="The question that is asked about every image.")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def describe_image(question_id: str, image_id: str, prompt: str, caption: str) -> dict[str, Any]:
    """A row of the table `questions` that asks for a description, with a caption in place of the correct answer."""
    return bare_question(question_id, image_id, prompt, caption, (DESCRIBE, "caption", ""))
