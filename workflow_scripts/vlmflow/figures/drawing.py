"""A figure of one model, drawn."""

import altair as alt

from vlmflow.probes import Probe

from .base import Chart, why_nothing
from .marks.theme import draw_message
from .panels import FigureData, Layout


def draw(figure: Chart, probe: Probe, data: FigureData, layout: Layout) -> alt.TopLevelMixin:
    """The figure of one model; if nothing could be measured, a figure that holds the reason.

    Args:
        figure, probe: as the study file has them.
        data: the tables from which it is drawn.
        layout: the medium for which it is drawn.
    """
    drawn = figure.draw(probe, data, layout)
    if drawn is not None:
        return drawn
    said = figure.sentence(probe, data.summary, data.model).removeprefix(f"{data.model}: ")
    return draw_message(figure.title, [data.model], said or why_nothing(data.summary, data.model))
