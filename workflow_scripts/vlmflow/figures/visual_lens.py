"""What the image's tokens decode to, over the layers; [thesis]."""

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
    """What a figure can show of the lens.

    Attributes:
        y_title: of the y axis, with the unit.
        caption: with {top} in place of the number of words.
        columns: quantities of the summary.
        instructions: that are shown; all where there are none.
        name, unit: in a sentence.
    """

    y_title: str
    caption: str
    columns: tuple[str, ...]
    instructions: tuple[str, ...] = ()
    name: str = ""
    unit: str = " %"


QUANTITIES = {
    # Which object a patch names is a question about the correct instruction.
    "names": _Quantity(
        "Patches that decode to it, %",
        "Percentage of patches for which one of the {top} most probable words, read through the final norm and the "
        "unembedding, is the name or an attribute of an object: of the object in the question, on its own patches; of "
        "the same object, on patches of none of the objects; and of another question's object, on the patches of this "
        "one.",
        ("object", "elsewhere", "shuffled"),
        ("correct",),
    ),
    "entropy": _Quantity(
        "Entropy, bits", "Entropy of the words that the image's tokens decode to.", ("entropy",), (), "entropy", " bits"
    ),
    "words": _Quantity(
        "Tokens that are words, %",
        "Percentage of the image's tokens that decode to a word, or to the beginning of one: at least two letters and "
        "nothing else, and no piece from within a word.",
        ("words",),
        (),
        "tokens that are words",
    ),
    # Agreement of the correct instruction with itself is 100 %, its difference 0.
    "agreement": _Quantity(
        "Same word as with the correct one, %",
        "Percentage of the image's tokens whose most probable word is the same as with the correct instruction: with "
        "the question of another image, and with none.",
        ("agreement",),
        ("wrong", "none"),
        "tokens with the same word",
    ),
    "difference": _Quantity(
        "Patches that decode to it, percentage points",
        "Percentage of an object's patches that decode to its name or an attribute, minus the percentage with the "
        "correct instruction, question by question: with the question of another image, and with none. Where the "
        "instruction has no influence, the interval holds 0.",
        ("difference",),
        ("wrong", "none"),
    ),
}
FORCED = (
    "In a causal decoder the image's tokens cannot see an instruction that stands after them: there, equality is "
    "forced, and only an instruction before the image tests anything."
)


class VisualLensChart(LineChart[VisualLensProbe]):
    """What the image's tokens decode to, over the layers."""

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
                f"figures.{name}.quantity: the probe {self.probe!r} has nothing to compare the correct instruction "
                f"with; "
                f"add wrong or none to probes.{self.probe}.instructions"
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
        """The extremes, with what they are to be compared with."""
        match self.quantity:
            case "names":
                return _describe_names(rows)
            case "difference":
                return _describe_differences(rows)
        chosen = QUANTITIES[self.quantity]
        lowest, highest = (
            rows.sort("mean", descending=down, maintain_order=True).row(0, named=True) for down in (False, True)
        )
        ends = [f"{with_interval(row, 1)}{chosen.unit} ({_place(row)})" for row in (lowest, highest)]
        return f"{chosen.name}: from {ends[0]} to {ends[1]}."


def _describe_names(rows: pl.DataFrame) -> str:
    """The layer in which most patches of an object have its name, against the two controls there."""
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
        f"an object's name or attribute is among the words of at most {with_interval(peak, 1)} % of its patches "
        f"({peak['task']}, after layer {peak['layer']})"
        + (f", against {' and '.join(controls)} there." if controls else ".")
    )


def _describe_differences(rows: pl.DataFrame) -> str:
    """The largest difference to the correct instruction, of each other one."""
    parts = []
    for (place, instruction), group in rows.group_by("instruction_position", "instruction", maintain_order=True):
        by_size = group.sort(pl.col("mean").abs(), descending=True, maintain_order=True)
        largest = by_size.row(0, named=True)
        parts.append(
            f"{name_of(str(instruction))} {place} the image {with_interval(largest, 1, signs=True)} (after layer "
            f"{largest['layer']}, {largest['task']})"
        )
    differences = "; ".join(parts)
    return f"largest difference to the correct instruction, in percentage points of an object's patches: {differences}."


def _place(row: dict[str, Any]) -> str:
    position = row["instruction_position"]
    return f"{row['task']}, {name_of(row['instruction'])} {position} the image, after layer {row['layer']}"
