"""The tables of a study."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

import polars as pl
from pydantic import Field

from vlmflow.data import AnyDataset
from vlmflow.figures.curve_feature_tables import without_alike
from vlmflow.probes import PROBES, Probe
from vlmflow.settings import ModelName, Name, Strict


class TableSettings(Strict):
    """A table of a study.

    Attributes:
        macro: the macro of report/templates/_tables.html that shows the table.
        former_kinds: earlier names of `table`.
    """

    macro: ClassVar[str]
    former_kinds: ClassVar[tuple[str, ...]] = ()

    title: str = ""
    table: str

    @classmethod
    def kind(cls) -> str:
        """The table's name in study files."""
        return str(get_args(cls.model_fields["table"].annotation)[0])

    def check(self, probes: Mapping[str, Probe], name: str) -> None:
        """Check the table's settings against the probes of the study.

        Args:
            probes: the probes of the study, by name.
            name: the table's name in the study file.

        Raises:
            ValueError: the study does not measure the content of the table; the message begins with the key.
        """

    @property
    def note(self) -> str:
        """A sentence above the table in the report; may be empty."""
        return ""

    def shown(self, written: pl.DataFrame) -> dict[str, Any]:
        """The arguments of the macro.

        Args:
            written: the table's CSV file.
        """
        return without_alike(written)


class TasksTable(TableSettings):
    """The types, an example and the number of the questions of each task; [flow] table 1."""

    macro: ClassVar = "tasks_table"

    table: Literal["tasks"]

    def shown(self, written: pl.DataFrame) -> dict[str, Any]:
        """See `TableSettings.shown`; images are shown only on the table's own page."""
        return {"rows": [row | {"image": None} for row in written.to_dicts()]}


class AccuracyTable(TableSettings):
    """A model's accuracy in each structural and semantic group of a whole dataset; [flow] table 2."""

    macro: ClassVar = "accuracy_table"
    renamed_keys: ClassVar = {"shards": "models.….shards, and divides all questions of the model"}

    table: Literal["accuracy"]
    model: ModelName
    dataset: AnyDataset | None = Field(None, description="A dataset other than the study's.")
    per_group: int | None = Field(None, ge=1, description="Maximum number of questions per group; all by default.")
    seed: int = Field(0, ge=0, description="Seed of the sample, if `per_group` limits it.")

    @property
    def note(self) -> str:
        """See `TableSettings.note`."""
        return f"{self.model}; in brackets, 95 % bootstrap intervals over images."

    def shown(self, written: pl.DataFrame) -> dict[str, Any]:
        """See `TableSettings.shown`."""
        from vlmflow.analysis.group_accuracy import accuracy_shown

        return accuracy_shown(written)


class CurveFeaturesTable(TableSettings):
    """The features of a probe's curves: phases of similarity, knees of budgets."""

    macro: ClassVar = "plain_table"
    former_kinds: ClassVar = ("landmarks",)

    table: Literal["curve-features"]
    probe: Name

    def check(self, probes: Mapping[str, Probe], name: str) -> None:
        """See `TableSettings.check`."""
        kinds = [probe.kind_name() for probe in PROBES if probe.features is not None]
        known = [other for other, probe in probes.items() if probe.features is not None]
        if self.probe not in known:
            raise ValueError(
                f"tables.{name}.probe: there is no probe {self.probe!r} of kind {' or '.join(kinds)}; "
                + (f"choose from {', '.join(known)}" if known else "add one")
            )


StudyTable = Annotated[TasksTable | AccuracyTable | CurveFeaturesTable, Field(discriminator="table")]
TABLES: tuple[type[TableSettings], ...] = get_args(get_args(StudyTable)[0])
