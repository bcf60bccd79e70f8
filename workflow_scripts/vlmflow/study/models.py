"""The models of a study."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.models.paths import folder_meant
from vlmflow.models.templates import TEMPLATES
from vlmflow.settings import Revision, Strict


def _check_template(template: str) -> str:
    if template not in ("own", *TEMPLATES) and not template.endswith(".jinja"):
        raise ValueError(f"{template!r} is no template: give own, {', '.join(TEMPLATES)}, or a .jinja file")
    return template


class Model(Strict):
    """A vision-language model, or a language model that reads captions in place of the image."""

    renamed_values: ClassVar = {"reads": {"picture": "image"}}

    path: str = Field(description="A folder, or an id on the Hugging Face hub.")
    revision: Revision | None = Field(None, description="Commit, tag or branch of a hub id.")
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = Field("float16", description="Type of the weights.")
    instruction: str = Field("", description="Text after the question, for instance to answer in one word.")
    template: Annotated[str, AfterValidator(_check_template)] = Field(
        "own", description="Conversation template: the model's own, vicuna_v1, llava_llama_3, plain, or a .jinja file."
    )
    reads: Literal["image", "captions"] = Field(
        "image", description="What stands before the question; captions are read as text, without an image."
    )
    fit: Literal["own", "pad", "crop"] = Field(
        "own",
        description="How an image that is no square is fitted: as the model's processor does it, padded, or cropped.",
    )
    patch_rule: Literal["overlap", "painted"] = Field(
        "overlap", description="Related patches overlap a box, or (as published) keep a pixel of it pure."
    )
    gpus: int = Field(1, ge=0, le=16, description="GPUs that a job of this model takes; 0: the CPU.")
    note: str = Field("", description="What a reader of the report should know about this model.")

    @model_validator(mode="after")
    def _captions_are_no_image(self) -> "Model":
        for key in ("fit", "patch_rule"):
            if self.reads == "captions" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: this model reads captions and is shown no image; take this key out")
        return self

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        return folder_meant(self.path)

    @property
    def fetched(self) -> str | None:
        """Of a hub id: the file in which `fetch_model` writes down what it fetched."""
        return f"resources/hub/{self.path}/{self.revision or 'main'}.json" if self.folder is None else None
