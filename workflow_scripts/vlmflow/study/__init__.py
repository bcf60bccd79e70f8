"""The study file as typed models: the only place where configuration is read."""

from vlmflow.data.settings import (
    AOkVqaDataset,
    CocoCaptionsDataset,
    Dataset,
    GqaDataset,
    GqaPaperDataset,
    OkVqaDataset,
    Sample,
    SyntheticDataset,
    Task,
    WinogroundDataset,
)
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
    "AOkVqaDataset",
    "AccuracyTable",
    "AtlasChart",
    "AttentionChart",
    "BudgetChart",
    "CocoCaptionsDataset",
    "Dataset",
    "ExamplesChart",
    "Figure",
    "FlowChart",
    "GqaDataset",
    "GqaPaperDataset",
    "LandmarksTable",
    "LensChart",
    "MapChart",
    "Model",
    "NormsChart",
    "OkVqaDataset",
    "PruningChart",
    "Sample",
    "SimilarityChart",
    "Study",
    "StudyError",
    "StudyTable",
    "SyntheticDataset",
    "Task",
    "TasksTable",
    "VisualLensChart",
    "WindowsChart",
    "WinogroundDataset",
    "WordsChart",
    "folder_meant",
    "read_study",
    "write_schema",
]
