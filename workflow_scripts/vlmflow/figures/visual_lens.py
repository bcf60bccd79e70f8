"""The words that the image's tokens decode to, over the layers; [thesis]."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vlmflow.probes import VisualLensProbe

from .base import LineChart
from .captions import INTERVALS
from .effects import Reading
from .numbers import with_interval
from .panels import Axes
from .style import name_of


@dataclass(frozen=True)
class _Quantity:
    """A quantity of the visual lens that a figure can show.

    Attributes:
        y_title: title of the y axis, with the unit.
        caption: the caption, with {top} in place of the number of words.
        columns: quantities of the summary.
        instructions: the instructions that are shown; empty for all.
        name, unit: as the sentence writes them.
    """

    y_title: str
    caption: str
    columns: tuple[str, ...]
    instructions: tuple[str, ...] = ()
    name: str = ""
    unit: str = " %"


QUANTITIES = {
    # The names are those of the question's objects, so they are counted with the correct instruction only.
    "names": _Quantity(
        "Patches with the name, %",
        "Percentage of patches for which one of the {top} most probable words, read through the final norm and the "
        "unembedding, is the name or an attribute of an object. Three cases: the question's object, on its own "
        "patches; the same object, on patches outside of all objects; and an object of another question, on the "
        "patches of this question's object.",
        ("object", "elsewhere", "shuffled"),
        ("correct",),
    ),
    "entropy": _Quantity(
        "Entropy, bits", "Entropy of the words that the image's tokens decode to.", ("entropy",), (), "entropy", " bits"
    ),
    "words": _Quantity(
        "Tokens that are words, %",
        "Percentage of the image's tokens that decode to a word or to the beginning of a word: at least two letters, "
        "no other characters, and not a piece from the inside of a word.",
        ("words",),
        (),
        "tokens that are words",
    ),
    # The correct instruction is left out: it agrees with itself by 100 %, and its difference is 0.
    "agreement": _Quantity(
        "Same most probable word, %",
        "Percentage of the image's tokens whose most probable word is the same as with the correct instruction, if the "
        "instruction is the question of another image, and without an instruction.",
        ("agreement",),
        ("wrong", "none"),
        "tokens with the same word",
    ),
    "difference": _Quantity(
        "Patches with the name, percentage points",
        "Percentage of an object's patches that decode to its name or an attribute, minus the percentage with the "
        "correct instruction, question by question: if the instruction is the question of another image, and without "
        "an instruction. An interval that holds 0 is compatible with no influence of the instruction.",
        ("difference",),
        ("wrong", "none"),
    ),
}
FORCED = (
    "In a causal decoder the image's tokens cannot attend to an instruction after them: the result is then the same "
    "for every instruction by construction, so only an instruction before the image is a test."
)


class VisualLensChart(LineChart[VisualLensProbe]):
    """The words that the image's tokens decode to, over the layers."""

    draws: ClassVar = (VisualLensProbe,)
    reading: ClassVar = Reading("Highest mean over the layers", digits=1, by_panel=True)

    chart: Literal["visual-lens"]
    quantity: Literal["names", "entropy", "words", "agreement", "difference"] = Field(
        "names",
        description="Patches that decode to the name of their object, entropy in bits, tokens that are words, tokens "
        "with the same word as with the correct instruction, or the difference that an instruction makes to the names.",
    )

    def check(self, probe: VisualLensProbe, name: str) -> None:
        """See `Chart.check`."""
        if self.quantity in ("agreement", "difference") and probe.instructions == ["correct"]:
            raise ValueError(
                f"figures.{name}.quantity: the probe {self.probe!r} measures no instruction beside the correct one, so "
                f"there is nothing to compare; add wrong or none to probes.{self.probe}.instructions"
            )

    def axes(self, probe: VisualLensProbe) -> Axes:
        """See `SummaryChart.axes`."""
        line = "quantity" if self.quantity == "names" else "instruction"
        y_title = QUANTITIES[self.quantity].y_title
        return Axes(line, "layer", "Layer (−1: the embedding)", y_title, ("task", "instruction_position"))

    def chosen_rows(self, rows: pl.DataFrame, probe: VisualLensProbe) -> pl.DataFrame:
        """See `SummaryChart.chosen_rows`."""
        chosen = QUANTITIES[self.quantity]
        rows = rows.filter(pl.col("quantity").is_in(chosen.columns))
        return rows.filter(pl.col("instruction").is_in(chosen.instructions)) if chosen.instructions else rows

    def caption(self, probe: VisualLensProbe) -> str:
        """See `Chart.caption`."""
        text = f"{QUANTITIES[self.quantity].caption.format(top=probe.top)} {INTERVALS}"
        compared = len(probe.instructions) > 1 and self.quantity != "names"
        return f"{text} {FORCED}" if compared and "after" in probe.instruction_positions else text

    def describe(self, rows: pl.DataFrame, probe: VisualLensProbe, features: pl.DataFrame | None) -> str:
        """The lowest and the highest mean; for names and differences, the largest value with its controls."""
        match self.quantity:
            case "names":
                return _describe_names(rows)
            case "difference":
                return _describe_differences(rows)
        chosen = QUANTITIES[self.quantity]
        lowest, highest = (
            rows.sort("mean", descending=down, maintain_order=True).row(0, named=True) for down in (False, True)
        )
        ends = [f"{with_interval(row, 1)}{chosen.unit} ({_position(row)})" for row in (lowest, highest)]
        return f"{chosen.name}: from {ends[0]} to {ends[1]}."


def _describe_names(rows: pl.DataFrame) -> str:
    """The layer in which most patches of an object decode to its name, with the two controls in that layer."""
    named = rows.filter(pl.col("quantity") == "object")
    peak = named.sort("mean", descending=True, maintain_order=True).row(0, named=True)
    same = rows.filter(*(pl.col(key) == peak[key] for key in ("task", "instruction_position", "layer")))
    others = {row["quantity"]: row for row in same.to_dicts()}
    controls = [
        f"{others[name]['mean']:.1f} % {words}"
        for name, words in (("elsewhere", "on other patches"), ("shuffled", "for another question's object"))
        if name in others
    ]
    return (
        f"at most {with_interval(peak, 1)} % of an object's patches decode to its name or an attribute "
        f"({peak['task']}, after layer {peak['layer']})"
        + (f", compared with {' and '.join(controls)} in this layer." if controls else ".")
    )


def _describe_differences(rows: pl.DataFrame) -> str:
    """The largest difference of every other instruction from the correct one."""
    parts = []
    for (position, instruction), group in rows.group_by("instruction_position", "instruction", maintain_order=True):
        by_size = group.sort(pl.col("mean").abs(), descending=True, maintain_order=True)
        largest = by_size.row(0, named=True)
        parts.append(
            f"{name_of(str(instruction))} {position} the image {with_interval(largest, 1, signs=True)} (after layer "
            f"{largest['layer']}, {largest['task']})"
        )
    differences = "; ".join(parts)
    return (
        f"largest difference from the correct instruction, in percentage points of an object's patches: {differences}."
    )


def _position(row: dict[str, Any]) -> str:
    position = row["instruction_position"]
    return f"{row['task']}, {name_of(row['instruction'])} {position} the image, after layer {row['layer']}"
