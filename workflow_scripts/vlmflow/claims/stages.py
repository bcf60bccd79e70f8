"""The stages of a study's flow, from the rows of its knockouts; see `vlmflow.analysis.stages`."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from vlmflow.analysis.line import Line, NotDefinedError, mean_of
from vlmflow.analysis.stages import STAGES, Stage, find_stages, whole_line
from vlmflow.probes import KnockoutProbe, Probe

from .sources import ProbeSource


def has_stages(probe: Probe) -> bool:
    """Whether the flow is read from a probe: it knocks out edges around every layer, and follows the model's answer."""
    return (
        isinstance(probe, KnockoutProbe)
        and (probe.cut, probe.follow, probe.token, probe.sub_words) == ("around", "own", "first", "any")
        and probe.answers != "wrong"
        and any(len(group.edges) == 1 for group in probe.edge_groups)
    )


def stages_of_study(sources: Mapping[str, ProbeSource], layers: Mapping[str, int]) -> pl.DataFrame:
    """Rows of the table `stages`: of every model and edge, by the first probe that measures it.

    Args:
        sources: name of a probe for which `has_stages` → its rows.
        layers: model → number of its layers, in the order of the study.
    """
    rows: list[dict[str, Any]] = []
    for model, depth in layers.items():
        known: set[str] = set()
        for name, source in sources.items():
            if model in source.models():
                rows += _of_probe(name, source, model, depth, known)
    return STAGES.frame(rows)


def _of_probe(name: str, source: ProbeSource, model: str, layers: int, known: set[str]) -> Iterator[dict[str, Any]]:
    probe = source.probe
    assert isinstance(probe, KnockoutProbe)
    edges = [str(group) for group in probe.edge_groups if len(group.edges) == 1 and str(group) not in known]
    known |= set(edges)
    lines: dict[str, Line] = {}
    about = {edge: {"model": model, "probe": name, "edge": edge, "layers": layers} for edge in edges}
    reasons: dict[str, str] = {}
    for edge in edges:
        tasks, window, reasons[edge] = _lines(source, model, edge, layers)
        about[edge] |= {"tasks": list(tasks), "window": window}
        if tasks:
            lines[edge] = mean_of(list(tasks.values()))
    found = find_stages(lines)
    for edge in edges:
        if edge not in lines:
            yield about[edge] | {"stage": 0, "questions": 0, "images": 0, "reason": reasons[edge]}
            continue
        line, stages = lines[edge], found[edge]
        about[edge] |= {"questions": line.questions, "images": line.images, "reason": None}
        for number, stage in enumerate(stages or [whole_line(line)], 1 if stages else 0):
            yield about[edge] | {"stage": number} | _columns(stage, line)


def _lines(source: ProbeSource, model: str, edge: str, layers: int) -> tuple[dict[str, Line], int | None, str]:
    """(task → its line, the window, why a task has none)."""
    assert isinstance(source.probe, KnockoutProbe)
    sizes = [window for window in source.probe.windows if isinstance(window, int)]
    where: dict[str, Any] = {"edge": edge} | ({"window": min(sizes)} if len(source.probe.windows) > 1 and sizes else {})
    lines: dict[str, Line] = {}
    window, reason = None, "it was measured on no task"
    for task in source.tasks():
        try:
            rows = source.rows(model, task, where)
            lines[task] = source.line(rows, layers)
        except NotDefinedError as error:
            reason = str(error)
            continue
        window = int(rows["window"][0])
    return lines, window, reason


def _columns(stage: Stage, line: Line) -> dict[str, Any]:
    def layer(point: int) -> int:
        return int(line.x[point])

    low, high = map(layer, stage.place)
    extent = {"first_layer": layer(stage.first), "last_layer": layer(stage.last)}
    place = {"layer": layer(stage.point), "layer_low": low, "layer_high": high}
    return extent | place | {"effect": stage.effect, "low": stage.interval[0], "high": stage.interval[1]}
