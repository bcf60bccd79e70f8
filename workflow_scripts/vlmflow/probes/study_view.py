"""The part of a study that a probe can read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .base import Probe


class StudyView(Protocol):
    """The part of a study that a probe can read: its probes, tasks and models."""

    @property
    def probes(self) -> Mapping[str, "Probe"]:
        """All probes, by name."""

    @property
    def tasks(self) -> Mapping[str, object]:
        """All tasks, by name."""

    @property
    def reads(self) -> Mapping[str, str]:
        """Model → its input: image or captions."""

    def models_of(self, probe: str) -> list[str]:
        """The models with which a probe is run."""

    def tasks_of(self, probe: str) -> list[str]:
        """The tasks on which a probe is run."""
