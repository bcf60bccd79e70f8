"""Logit lens on the image's tokens; [thesis]."""

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from vlmflow.analysis.summaries import Averaging
from vlmflow.data.sampling import in_random_order
from vlmflow.models.size import Size
from vlmflow.probes.base import ImageProbe, ProbeTables
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import READ, Work, forward, unembedding
from vlmflow.settings import each_once
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, STATE

# The skipped part if no object of the question has patches whose words can be compared with its name.
NAMES_OF_OBJECTS = "names of objects"


def with_difference(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table `visual lens` with the column `difference`: how many more patches decode to their object than
    with the correct instruction, in percent, question by question; null for the correct instruction."""
    keys = ["question_id", "instruction_position", "layer"]
    correct = rows.filter(pl.col("instruction") == "correct").select(*keys, correct="object")
    joined = rows.join(correct, on=keys, how="left", maintain_order="left")
    difference = pl.when(pl.col("instruction") != "correct").then(pl.col("object") - pl.col("correct"))
    return joined.with_columns(difference=difference)


class VisualLensProbe(ImageProbe):
    """Logit lens on the image's tokens: which words they decode to, at every layer."""

    chapter: ClassVar = Chapter.DECODED
    table: ClassVar = Table(
        "visual lens",
        ABOUT
        | {
            "instruction": Column(pl.String, "correct, wrong or none"),
            "instruction_position": Column(pl.String, "of the instruction: after or before the image"),
        }
        | STATE
        | {
            "object": Column(
                pl.Float64, "percent of the objects' patches that decode to its name or an attribute", nullable=True
            ),
            "elsewhere": Column(pl.Float64, "the same of other patches", nullable=True),
            "shuffled": Column(pl.Float64, "the objects' patches, another question's names", nullable=True),
            "entropy": Column(pl.Float64, "bits, mean over the image's tokens"),
            "words": Column(pl.Float64, "percent of the image's tokens that decode to a word"),
            "agreement": Column(
                pl.Float64, "percent with the same word as with the correct instruction", nullable=True
            ),
            "decoded": Column(pl.List(pl.String), "the word of each patch, row by row; of examples", nullable=True),
        },
    )
    averaging: ClassVar = Averaging(
        by=("instruction", "instruction_position", "quantity", "layer"),
        quantities=("object", "elsewhere", "shuffled", "entropy", "words", "agreement", "difference"),
        prepare=with_difference,
        line="quantity",
        line_of={NAMES_OF_OBJECTS: "object"},
    )

    renamed_keys: ClassVar = {"places": "instruction_positions"}
    renamed_values: ClassVar = {"answers": {"right": "correct"}, "instructions": {"right": "correct"}}

    kind: Literal["visual-lens"]
    top: int = Field(5, ge=1, description="Words per patch that are compared with names and attributes.")
    instructions: Annotated[list[Literal["correct", "wrong", "none"]], AfterValidator(each_once("instruction"))] = (
        Field(
            ["correct", "wrong", "none"],
            description="correct: the question; wrong: the question of another image; none: no instruction.",
        )
    )
    instruction_positions: Annotated[list[Literal["after", "before"]], AfterValidator(each_once("position"))] = Field(
        ["after", "before"],
        min_length=1,
        description="Position of the instruction; in a causal decoder, image tokens cannot attend to text after them.",
    )
    examples: int = Field(
        4, ge=0, description="Number of questions per task for which the word of every patch is kept."
    )

    choosing_keys: ClassVar = ImageProbe.choosing_keys | {"examples"}

    @property
    def uses_seed(self) -> bool:
        """See `Probe.uses_seed`; the order of questions decides which are compared."""
        return True

    @property
    def detailed(self) -> int:
        """See `Probe.detailed`."""
        return self.examples

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        prompts = len(self.instructions) * len(self.instruction_positions)
        read = size.image_tokens * unembedding(size)
        return Work(prompts * (forward() + read), prompts * (1 + size.image_tokens / READ))

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """See `Probe.columns`; a question is compared with those before it."""
        return super().columns(in_random_order(rows, seed), tables, seed)

    @model_validator(mode="after")
    def _correct_one_is_measured(self) -> "VisualLensProbe":
        if "correct" not in self.instructions:
            raise ValueError("instructions: correct is missing; the others are compared with it")
        return self
