"""The models of a study."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmflow.models.paths import folder_meant
from vlmflow.models.templates import TEMPLATES
from vlmflow.settings import Revision, Strict


def _check_template(template: str) -> str:
    if template not in ("own", *TEMPLATES) and not template.endswith(".jinja"):
        raise ValueError(f"{template!r} is not a template: give own, {', '.join(TEMPLATES)}, or a .jinja file")
    return template


class Model(Strict):
    """A vision-language model, or a language model that reads captions in place of the image."""

    renamed_values: ClassVar = {"reads": {"picture": "image"}}

    path: str = Field(description="A folder, or an id on the Hugging Face hub.")
    revision: Revision | None = Field(None, description="Commit, tag or branch of a hub id.")
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = Field("float16", description="Type of the weights.")
    instruction: str = Field("", description="Text after the question, for instance to answer in one word.")
    template: Annotated[str, AfterValidator(_check_template)] = Field(
        "own",
        description="Conversation template: the model's own, vicuna_v1, llava_llama_3 (with _as_published, cut into "
        "tokens at the image as LLaVA's published code does), plain, image_first, or a .jinja file.",
    )
    reads: Literal["image", "captions"] = Field(
        "image", description="What the model reads before the question: the image, or its captions as text."
    )
    fit: Literal["own", "pad", "crop"] = Field(
        "own",
        description="How an image that is not square is fitted: as the model's processor does it, padded, or cropped.",
    )
    patch_rule: Literal["overlap", "painted"] = Field(
        "overlap",
        description="Which patches are related: those that overlap a box, or (as published) those in which a pixel of "
        "the painted box stays pure.",
    )
    gpus: int = Field(1, ge=0, le=16, description="Number of GPUs that a job of this model uses; 0: the CPU.")
    shards: int = Field(
        1, ge=1, le=999, description="Number of jobs over which the questions of each step of this model are divided."
    )
    note: str = Field("", description="A remark about this model, shown in the report.")

    @model_validator(mode="after")
    def _check_image_keys(self) -> "Model":
        for key in ("fit", "patch_rule"):
            if self.reads == "captions" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: this model reads captions and gets no image; remove this key")
        return self

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        return folder_meant(self.path)

    @property
    def fetched(self) -> str | None:
        """The file in which the rule `fetch_model` records what it fetched for a hub id; None for a folder."""
        return f"resources/hub/{self.path}/{self.revision or 'main'}.json" if self.folder is None else None
