"""The charts: each one class that owns what is true of it alone; `CHARTS` lists them.

Reading a study imports this package, so that nothing here imports altair before a figure is drawn.
"""

from typing import Annotated

import polars as pl
from pydantic import Field

from .atlas import AtlasChart
from .attention import AttentionChart
from .base import Chart
from .budget import BudgetChart
from .examples import ExamplesChart
from .flow import FlowChart
from .lens import LensChart
from .map import MapChart
from .norms import NormsChart
from .panels import FigureData, Layout
from .pruning import PruningChart
from .similarity import SimilarityChart
from .visual_lens import VisualLensChart
from .windows import WindowsChart
from .words import WordsChart

CHARTS: tuple[type[Chart], ...] = (
    FlowChart,
    WindowsChart,
    AtlasChart,
    LensChart,
    WordsChart,
    NormsChart,
    PruningChart,
    SimilarityChart,
    AttentionChart,
    MapChart,
    ExamplesChart,
    VisualLensChart,
    BudgetChart,
)
AnyChart = Annotated[
    FlowChart
    | WindowsChart
    | AtlasChart
    | LensChart
    | WordsChart
    | NormsChart
    | PruningChart
    | SimilarityChart
    | AttentionChart
    | MapChart
    | ExamplesChart
    | VisualLensChart
    | BudgetChart,
    Field(discriminator="chart"),
]


def charts_of(probe_kind: str) -> list[str]:
    """Names of the charts that can draw a kind of probe."""
    return [chart.kind() for chart in CHARTS if probe_kind in chart.probe_kinds()]


def curve_feature_rows(probe_kind: str, features: pl.DataFrame) -> pl.DataFrame:
    """Phases or knees in words and numbers to read.

    Args:
        probe_kind: of the probe on whose curves they were found.
        features: what was found.
    """
    (chart,) = (each for each in CHARTS if each.tabulates_curve_features and probe_kind in each.probe_kinds())
    return chart.curve_feature_rows(features)


__all__ = [
    "CHARTS",
    "AnyChart",
    "AtlasChart",
    "AttentionChart",
    "BudgetChart",
    "Chart",
    "ExamplesChart",
    "FigureData",
    "FlowChart",
    "Layout",
    "LensChart",
    "MapChart",
    "NormsChart",
    "PruningChart",
    "SimilarityChart",
    "VisualLensChart",
    "WindowsChart",
    "WordsChart",
    "charts_of",
    "curve_feature_rows",
]
