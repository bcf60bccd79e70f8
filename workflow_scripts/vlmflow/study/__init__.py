"""The study file as typed models: the only place where configuration is read."""

from vlmflow.data.tasks import Sample, Task
from vlmflow.errors import StudyError
from vlmflow.models.paths import folder_meant
from vlmflow.models.templates import TEMPLATES

from .figures import (
    AccuracyTable,
    AtlasChart,
    AttentionChart,
    BudgetChart,
    ExamplesChart,
    Figure,
    FlowChart,
    LandmarksTable,
    LensChart,
    MapChart,
    NormsChart,
    PruningChart,
    SimilarityChart,
    StudyTable,
    TasksTable,
    VisualLensChart,
    WindowsChart,
    WordsChart,
)
from .models import Model
from .read import read_study, write_schema
from .study import Study

__all__ = [
    "TEMPLATES",
    "AccuracyTable",
    "AtlasChart",
    "AttentionChart",
    "BudgetChart",
    "ExamplesChart",
    "Figure",
    "FlowChart",
    "LandmarksTable",
    "LensChart",
    "MapChart",
    "Model",
    "NormsChart",
    "PruningChart",
    "Sample",
    "SimilarityChart",
    "Study",
    "StudyError",
    "StudyTable",
    "Task",
    "TasksTable",
    "VisualLensChart",
    "WindowsChart",
    "WordsChart",
    "folder_meant",
    "read_study",
    "write_schema",
]
