"""In words, what figures of how picture and words meet say."""

from typing import Any

import polars as pl

from vlmflow.probes import AttentionMapProbe, Probe
from vlmflow.probes.similarity import PHASE_NAMES
from vlmflow.report.html import signed, unsigned
from vlmflow.study import MapChart, SimilarityChart, VisualLensChart

from . import name_of


def similarity_words(figure: SimilarityChart, rows: pl.DataFrame, phases: pl.DataFrame | None) -> str:
    """Where picture and text are most alike, and the phases that the curves support."""
    between = rows.filter(pl.col("pair") == "image and text").sort("mean", descending=True, maintain_order=True)
    if figure.by == "prompt":
        spread = between.group_by("task", "layer", maintain_order=True).agg(pl.col("mean").max() - pl.col("mean").min())
        widest = spread.sort("mean", descending=True, maintain_order=True).row(0, named=True)
        return (
            f"between prompts, the similarity of image and text differs by at most {widest['mean']:.2f} "
            f"({widest['task']}, after layer {widest['layer']})."
        )
    best = between.row(0, named=True)
    text = f"image and text are most alike in {_where(best)}, {_interval(best)} after layer {best['layer']}."
    return text if phases is None else f"{text} {phase_words(phases)}"


def phase_words(phases: pl.DataFrame) -> str:
    """How many phases the curves support, and where they begin."""
    parts = []
    for (task, prompt), group in phases.filter(pl.col("of") == pl.col("supported")).group_by(
        "task", "prompt", maintain_order=True
    ):
        number, agreement = group["of"][0], group["agreement"][0]
        begins = [
            f"{row['first']}{_ends(row)}" + (f" ({row['name']})" if row["name"] else "")
            for row in group.to_dicts()
            if row["phase"] > 1
        ]
        counted = f"{number} phase{'s' if number > 1 else ''}, not four"
        if number == len(PHASE_NAMES):
            counted = "four phases, " + ("as [phase] has it" if group["name"][0] else "which are not those of [phase]")
        starts = f"; after the first, they begin after layer {', '.join(begins)}" if begins else ""
        often = "" if agreement is None else f" (in {agreement:.0f} % of the resamples)"
        parts.append(f"{task}, {prompt}: {counted}{often}{starts}")
    return f"The curves support, by task and prompt: {'. '.join(parts)}." if parts else ""


def attention_words(rows: pl.DataFrame) -> str:
    """Where each edge is strongest, by weights and by norms."""
    parts = []
    for edge in map(str, rows["edge"].unique(maintain_order=True)):
        peaks = rows.filter(pl.col("edge") == edge).sort("mean", descending=True, maintain_order=True)
        weight, norm = (
            peaks.filter(pl.col("quantity") == quantity).row(0, named=True) for quantity in ("weight", "share")
        )
        source, target = edge.split(" -> ")
        parts.append(
            f"{target} to {source}: at most {weight['mean']:.0f} % of the attention (layer {weight['layer']}, "
            f"{weight['task']}) and {norm['mean']:.0f} % of the norms (layer {norm['layer']}, {norm['task']})"
        )
    return "; ".join(parts) + "."


def map_words(figure: MapChart, probe: Probe, rows: pl.DataFrame) -> str:
    """Which cell counts most, and how much of it all the strongest tenth of the cells has."""
    if isinstance(probe, AttentionMapProbe):
        target = figure.target or probe.targets[0]
        picture = (
            rows.group_by("task", "layer", maintain_order=True)
            .agg(pl.col("mean").sum())
            .sort("mean", descending=True, maintain_order=True)
        )
        best, peak = (
            picture.row(0, named=True),
            rows.sort("mean", descending=True, maintain_order=True).row(0, named=True),
        )
        return (
            f"{target} looks most at the picture in layer {best['layer']} ({best['mean']:.0f} % of all, "
            f"{best['task']}), and most at a single patch in layer {peak['layer']} ({peak['mean']:.1f} %, "
            f"{_cell(peak)}, {peak['task']})."
        )
    parts = []
    for (task,), group in rows.group_by("task", maintain_order=True):
        peak = group.sort("mean", descending=True, maintain_order=True).row(0, named=True)
        certain = len(group.filter(pl.col("low") > 0))
        parts.append(
            f"{task}: most without {_cell(peak)}, {signed(peak['mean'], 2)} [{signed(peak['low'], 2)}, "
            f"{signed(peak['high'], 2)}] nats; {certain} of {len(group)} cells with an interval above 0"
        )
    return f"the loss grows in {'. '.join(parts)}."


def visual_lens_words(figure: VisualLensChart, rows: pl.DataFrame) -> str:
    """The peaks, with what they are to be compared with."""
    if figure.quantity == "names":
        peak = (
            rows.filter(pl.col("quantity") == "object")
            .sort("mean", descending=True, maintain_order=True)
            .row(0, named=True)
        )
        same = rows.filter(
            (pl.col("task") == peak["task"]) & (pl.col("place") == peak["place"]) & (pl.col("layer") == peak["layer"])
        )
        others = {row["quantity"]: row for row in same.to_dicts()}
        controls = [
            f"{others[name]['mean']:.1f} % {words}"
            for name, words in (("elsewhere", "on other patches"), ("shuffled", "for another question's object"))
            if name in others
        ]
        return (
            f"an object's name or attribute is among the words of at most {_interval(peak, 1)} % of its patches "
            f"({peak['task']}, after layer {peak['layer']})"
            + (f", against {' and '.join(controls)} there." if controls else ".")
        )
    if figure.quantity == "difference":
        parts = []
        for (place, instruction), group in rows.group_by("place", "instruction", maintain_order=True):
            far = (
                group.with_columns(size=pl.col("mean").abs())
                .sort("size", descending=True, maintain_order=True)
                .row(0, named=True)
            )
            parts.append(
                f"{name_of(str(instruction))} {place} the picture {signed(far['mean'])} [{signed(far['low'])}, "
                f"{signed(far['high'])}] (after layer {far['layer']}, {far['task']})"
            )
        return (
            "largest difference to the right instruction, in percentage points of an object's patches: "
            f"{'; '.join(parts)}."
        )
    lowest, highest = (
        rows.sort("mean", descending=down, maintain_order=True).row(0, named=True) for down in (False, True)
    )
    unit = " bits" if figure.quantity == "entropy" else " %"
    what = {"entropy": "entropy", "words": "tokens that are words", "agreement": "tokens with the same word"}
    return (
        f"{what[figure.quantity]}: from {_interval(lowest, 1)}{unit} ({_lens_place(lowest)}) to "
        f"{_interval(highest, 1)}{unit} ({_lens_place(highest)})."
    )


def budget_words(rows: pl.DataFrame, knees: pl.DataFrame | None) -> str:
    """What the picture is worth, and from where on more of it helps little."""
    best = rows.sort("kept", descending=True, maintain_order=True).row(0, named=True)
    parts = []
    for row in (knees if knees is not None else pl.DataFrame()).to_dicts():
        about = f"{row['task']}, {row['prompt']}, {name_of(row['keep'])}"
        fall = f"loss {row['without']:.2f} without the picture, {row['whole']:.2f} with it"
        bend = "no knee"
        if row["knee"] is not None:
            bend = f"knee at {row['knee']:.0f}{_ends(row)} tokens ({row['at_knee']:.2f})"
        most = f"{row['enough']:.0f}{_ends(row, 'enough_low', 'enough_high')}"
        parts.append(f"{about}: {fall}, {bend}, 95 % of the fall with {most}")
    return " ".join(f"{part}." for part in (f"of {best['kept']:.0f} tokens", *parts))


def _where(row: dict[str, Any]) -> str:
    return ", ".join(str(row[key]) for key in ("task", "prompt") if key in row)


def _interval(row: dict[str, Any], digits: int = 2) -> str:
    mean, low, high = (unsigned(row[name], digits) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _cell(row: dict[str, Any]) -> str:
    return f"row {row['row'] + 1}, column {row['column'] + 1}"


def _lens_place(row: dict[str, Any]) -> str:
    return f"{row['task']}, {name_of(row['instruction'])} {row['place']} the picture, after layer {row['layer']}"


def _ends(row: dict[str, Any], low: str = "low", high: str = "high") -> str:
    """The interval in brackets, with a space before it; nothing where there is none."""
    return "" if row[low] is None else f" [{row[low]:.0f}, {row[high]:.0f}]"
