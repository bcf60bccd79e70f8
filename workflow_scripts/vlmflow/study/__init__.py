"""The study file as typed models: the only place where configuration is read."""

from vlmflow.data.tasks import Sample, Task
from vlmflow.errors import StudyError
from vlmflow.models.paths import folder_meant
from vlmflow.models.templates import TEMPLATES

from .models import Model
from .read import read_study, write_schema
from .study import Study
from .tables import AccuracyTable, CurveFeaturesTable, StudyTable, TasksTable

__all__ = [
    "TEMPLATES",
    "AccuracyTable",
    "CurveFeaturesTable",
    "Model",
    "Sample",
    "Study",
    "StudyError",
    "StudyTable",
    "Task",
    "TasksTable",
    "folder_meant",
    "read_study",
    "write_schema",
]
