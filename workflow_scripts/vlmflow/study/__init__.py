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

from .models import Model
from .read import read_study, write_schema
from .study import Study
from .tables import AccuracyTable, LandmarksTable, StudyTable, TasksTable

__all__ = [
    "TEMPLATES",
    "AOkVqaDataset",
    "AccuracyTable",
    "CocoCaptionsDataset",
    "Dataset",
    "GqaDataset",
    "GqaPaperDataset",
    "LandmarksTable",
    "Model",
    "OkVqaDataset",
    "Sample",
    "Study",
    "StudyError",
    "StudyTable",
    "SyntheticDataset",
    "Task",
    "TasksTable",
    "WinogroundDataset",
    "folder_meant",
    "read_study",
    "write_schema",
]
