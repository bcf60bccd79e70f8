"""The charts: each is one class that owns everything that is true of it alone; `CHARTS` lists them.

This package is imported whenever a study is read, so nothing here imports altair before a figure is drawn.
"""

from typing import Annotated, get_args

import polars as pl
from pydantic import Field

from .atlas import AtlasChart
from .attention import AttentionChart
from .base import Chart
from .budget import BudgetChart
from .examples import ExamplesChart
from .flow import FlowChart
from .heads import HeadsChart
from .lens import LensChart
from .logit_attribution import LogitAttributionChart
from .map import MapChart
from .norms import NormsChart
from .output_lens import OutputLensChart
from .panels import FigureData, Layout
from .patching import PatchingChart
from .patching_heads import PatchingHeadsChart
from .pathway import PathwayChart
from .pathway_cells import PathwayCellsChart
from .pathway_sets import PathwaySetsChart
from .pruning import PruningChart
from .redundancy import RedundancyChart
from .similarity import SimilarityChart
from .states import StatesChart
from .visual_lens import VisualLensChart
from .windows import WindowsChart
from .words import WordsChart

# The registry of all charts.
AnyChart = Annotated[
    FlowChart
    | WindowsChart
    | AtlasChart
    | LensChart
    | WordsChart
    | NormsChart
    | PruningChart
    | SimilarityChart
    | OutputLensChart
    | AttentionChart
    | MapChart
    | ExamplesChart
    | VisualLensChart
    | BudgetChart
    | HeadsChart
    | PathwayChart
    | PathwayCellsChart
    | PathwaySetsChart
    | RedundancyChart
    | PatchingChart
    | PatchingHeadsChart
    | LogitAttributionChart
    | StatesChart,
    Field(discriminator="chart"),
]
CHARTS: tuple[type[Chart], ...] = get_args(get_args(AnyChart)[0])


def charts_of(probe_kind: str) -> list[str]:
    """Names of the charts that can draw a kind of probe."""
    return [chart.kind() for chart in CHARTS if probe_kind in chart.probe_kinds()]


def curve_feature_rows(probe_kind: str, features: pl.DataFrame) -> pl.DataFrame:
    """The table of phases or knees as a reader sees it: headings, and numbers as text.

    Args:
        probe_kind: kind of the probe on whose curves they were found.
        features: the phases or knees.
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
    "HeadsChart",
    "Layout",
    "LensChart",
    "LogitAttributionChart",
    "MapChart",
    "NormsChart",
    "OutputLensChart",
    "PatchingChart",
    "PatchingHeadsChart",
    "PathwayCellsChart",
    "PathwayChart",
    "PathwaySetsChart",
    "PruningChart",
    "RedundancyChart",
    "SimilarityChart",
    "StatesChart",
    "VisualLensChart",
    "WindowsChart",
    "WordsChart",
    "charts_of",
    "curve_feature_rows",
]
