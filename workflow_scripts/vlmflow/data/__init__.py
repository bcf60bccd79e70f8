"""The datasets: origin of their files and images, and readers of their questions."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter

from .a_okvqa import AOkVqaDataset
from .base import Dataset
from .coco_captions import CocoCaptionsDataset
from .gqa import GqaDataset
from .gqa_paper import GqaPaperDataset
from .ok_vqa import OkVqaDataset
from .pope import PopeDataset
from .synthetic import SyntheticDataset
from .winoground import WinogroundDataset

__all__ = ["DATASETS", "AnyDataset", "dataset_from"]

# The registry of all datasets.
AnyDataset = Annotated[
    SyntheticDataset
    | GqaDataset
    | GqaPaperDataset
    | OkVqaDataset
    | AOkVqaDataset
    | PopeDataset
    | CocoCaptionsDataset
    | WinogroundDataset,
    Field(discriminator="source"),
]
DATASETS: tuple[type[Dataset], ...] = get_args(get_args(AnyDataset)[0])


def dataset_from(settings: Mapping[str, Any]) -> Dataset:
    """The dataset with these settings; `source` is its kind."""
    dataset: Dataset = TypeAdapter(AnyDataset).validate_python(settings)
    return dataset
