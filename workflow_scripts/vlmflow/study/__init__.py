"""The study file as typed models: the only place where configuration is read."""

from .datasets import (
    AOkVqaDataset,
    CocoCaptionsDataset,
    Dataset,
    GqaDataset,
    GqaPaperDataset,
    OkVqaDataset,
    SyntheticDataset,
    WinogroundDataset,
)
from .figures import (
    AccuracyTable,
    AtlasChart,
    Figure,
    FlowChart,
    LensChart,
    NormsChart,
    PruningChart,
    StudyTable,
    TasksTable,
    WindowsChart,
    WordsChart,
)
from .models import TEMPLATES, Model
from .probes import KnockoutProbe, LensProbe, NormsProbe, Probe, PruningProbe, Sinks, WordsProbe
from .reading import StudyError, read_study, write_schema
from .whole import Sample, Study, Task

__all__ = [
    "TEMPLATES",
    "AOkVqaDataset",
    "AccuracyTable",
    "AtlasChart",
    "CocoCaptionsDataset",
    "Dataset",
    "Figure",
    "FlowChart",
    "GqaDataset",
    "GqaPaperDataset",
    "KnockoutProbe",
    "LensChart",
    "LensProbe",
    "Model",
    "NormsChart",
    "NormsProbe",
    "OkVqaDataset",
    "Probe",
    "PruningChart",
    "PruningProbe",
    "Sample",
    "Sinks",
    "Study",
    "StudyError",
    "StudyTable",
    "SyntheticDataset",
    "Task",
    "TasksTable",
    "WindowsChart",
    "WinogroundDataset",
    "WordsChart",
    "WordsProbe",
    "read_study",
    "write_schema",
]
